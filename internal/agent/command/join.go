package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"godwit/internal/agent"
	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/dnsname"
	"godwit/internal/signature"
)

// Joined is what came of joining, or of replacing a key.
type Joined struct {
	Host       string `json:"host"`
	Server     string `json:"server"`
	Credential string `json:"credential"` // the key's ID
	KeyFile    string `json:"key_file"`
	// Config is the file that has the host, Added whether it was put there now,
	// and ToAdd what to put there if that could not be done.
	Config string `json:"config,omitempty"`
	Added  bool   `json:"added,omitempty"`
	ToAdd  string `json:"to_add,omitempty"`
}

// Join turns a one-time code into a key of this device for the code's host. The
// key is on disk before the server hears of it, so that after a lost answer the
// same code comes with the same key, and is answered again. The host is put
// into the configuration if it is not there.
func Join(ctx context.Context, s *Settings, server, code string) (*Joined, error) {
	server = strings.TrimRight(server, "/")
	bare := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(code), "-", ""))
	if len(bare) != 16 || strings.Trim(bare, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return nil, wrong("copy it as it was printed", "the code is not 16 letters and digits, such as abcd-efgh-ijkl-mnop")
	}
	door, err := client.NewDoor(client.DoorConfig{URL: server, RootCAs: s.Agent.RootCAs})
	if err != nil {
		return nil, wrong("take the URL that came with the code", "%v", err)
	}
	defer door.Close()
	pending := agent.PendingKeyPath(s.Agent.Dir, server, bare)
	key, err := agent.ReadKey(pending)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = agent.NewKey(server); err == nil {
			err = key.Write(pending)
		}
	}
	if err != nil {
		return nil, err
	}
	answer, err := door.Join(ctx, api.Join{Code: bare, PublicKey: key.Public()})
	var p *api.Problem
	if errors.As(err, &p) && p.Code == "bad-proof" {
		// A key that had joined with this code would have been answered again.
		_ = os.Remove(pending)
	}
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	host, err := dnsname.ParseHost(answer.Host)
	if err != nil {
		return nil, fmt.Errorf("join: the server answers with a host that is none: %w", err)
	}
	key.Host, key.Credential = host.String(), answer.Credential
	if _, err := key.Signer(); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	out := &Joined{Host: key.Host, Server: server, Credential: key.Credential, KeyFile: agent.KeyPath(s.Agent.Dir, server, host), Config: s.File}
	if err := key.Write(out.KeyFile); err != nil {
		return nil, fmt.Errorf("%w; then join again with the same code", err)
	}
	if err := os.Remove(pending); err != nil {
		return nil, err
	}
	has := func(t agent.Target) bool {
		return t.Host == host && agent.KeyPath("", t.Server, host) == agent.KeyPath("", server, host)
	}
	if !slices.ContainsFunc(s.Agent.Targets, has) {
		out.configure(s)
	}
	return out, nil
}

// configure puts the host at the end of the configuration, which is a list of
// hosts, or says what to put there.
func (j *Joined) configure(s *Settings) {
	block := fmt.Sprintf("[[host]]\nname = %q\nurl = %q\n", j.Host, j.Server)
	if s.stateFlag { // the agent would look elsewhere
		path, err := filepath.Abs(j.KeyFile)
		if err == nil {
			block += fmt.Sprintf("key-file = %q\n", path)
		}
	}
	if j.Added = appendTo(s.File, block) == nil; !j.Added {
		j.ToAdd = block
	}
}

// appendTo puts a block at the end of a file. What it makes for that can be read
// by everybody, whatever the umask: the one who joins is often root, and the
// service that reads it is not. There is no secret in it.
func appendTo(file, block string) error {
	dir := filepath.Dir(file)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		err = f.Chmod(0o644)
	} else if f, err = os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		block = "\n" + block // the last line may not have ended
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.WriteString(block); err == nil {
		err = f.Sync()
	}
	return err
}

// Rotate gives the key of every host a successor, which the old key introduces.
// A new key is on disk before the server hears of it, and the old one stays in
// its place until the server has taken the new one; for a day after that both
// are good. A running agent takes the new key by itself. After an error, what
// was done before it is returned too.
func Rotate(ctx context.Context, s *Settings) ([]*Joined, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	out := []*Joined{}
	for _, t := range s.Agent.Targets {
		rotated, err := rotate(ctx, s, t)
		if err != nil {
			return out, err
		}
		out = append(out, rotated)
	}
	return out, nil
}

func rotate(ctx context.Context, s *Settings, t agent.Target) (*Joined, error) {
	if t.KeyFile == "" {
		return nil, wrong("rotate the token at the server: godwit host token rotate", "%s has a token, and no key", t.Host)
	}
	old, err := agent.ReadKey(t.KeyFile)
	if err != nil {
		return nil, err
	}
	signer, err := old.Signer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.KeyFile, err)
	}
	next := t.KeyFile + ".next"
	key, err := agent.ReadKey(next)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = agent.NewKey(t.Server); err == nil {
			err = key.Write(next)
		}
	}
	if err != nil {
		return nil, err
	}
	door, err := client.NewDoor(client.DoorConfig{URL: t.Server, Sign: agent.SignWith(signer), RootCAs: s.Agent.RootCAs})
	if err != nil {
		return nil, err
	}
	defer door.Close()
	var answer api.Joined
	err = Signed(signer, func() error {
		answer, err = door.ReplaceKey(ctx, t.Host, api.ReplaceKey{PublicKey: key.Public()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rotate the key of %s: %w", t.Host, err)
	}
	key.Host, key.Credential = t.Host.String(), answer.Credential
	if _, err := key.Signer(); err != nil {
		return nil, fmt.Errorf("rotate the key of %s: %w", t.Host, err)
	}
	if err := key.Write(t.KeyFile); err != nil {
		return nil, fmt.Errorf("%w; then rotate again", err)
	}
	return &Joined{Host: key.Host, Server: t.Server, Credential: key.Credential, KeyFile: t.KeyFile}, os.Remove(next)
}

// Signed makes a signed request, and repeats it once for a clock that is wrong
// and once for an order that a running agent has gone on with.
func Signed(signer *signature.Signer, request func() error) error {
	for learnt, ordered := false, false; ; {
		err := request()
		var p *api.Problem
		switch {
		case errors.As(err, &p) && p.Code == "clock" && p.Now > 0 && !learnt:
			signer.Learn(time.Unix(p.Now, 0), time.Now())
			learnt = true
		case errors.As(err, &p) && p.Code == "replayed" && !ordered && signer.After(p.LastCreated, time.Now()):
			ordered = true
		default:
			return err
		}
	}
}
