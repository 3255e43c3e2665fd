package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"godwit/internal/client"
	"godwit/internal/ddns"
)

// twinsTime bounds the reading of all hosts.
const twinsTime = 30 * time.Second

// twins are the other hosts that have a shared secret of this one. The daemon
// refuses such a secret; rows that others made in an adopted table are as they
// are. Hashes are compared; no secret is read.
func twins(ctx context.Context, server *client.Client, name string) (others []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, twinsTime)
	defer cancel()
	own, err := verifiers(ctx, server, name)
	if err != nil || len(own) == 0 {
		return nil, err
	}
	err = exported(ctx, server, "", func(h exportedHashes) {
		if h.Name == name || h.SeedOff {
			return
		}
		for _, c := range h.Credentials {
			for _, mine := range own {
				if len(c.Verifier) > 0 && subtle.ConstantTimeCompare(c.Verifier, mine) == 1 && shared(c.Kind) {
					others = append(others, h.Name)
					return
				}
			}
		}
	})
	return others, err
}

// exportedHashes is what of an exported host is looked at.
type exportedHashes struct {
	Name        string `json:"name"`
	SeedOff     bool   `json:"seed_off"`
	Credentials []struct {
		Kind     ddns.Kind `json:"kind"`
		Verifier []byte    `json:"verifier"`
	} `json:"credentials"`
}

func shared(kind ddns.Kind) bool { return kind == ddns.KindSeed || kind == ddns.KindToken }

// verifiers are the hashes of a host's shared secrets.
func verifiers(ctx context.Context, server *client.Client, name string) (out [][]byte, err error) {
	err = exported(ctx, server, name, func(h exportedHashes) {
		for _, c := range h.Credentials {
			if len(c.Verifier) > 0 && shared(c.Kind) {
				out = append(out, c.Verifier)
			}
		}
	})
	return out, err
}

// exported reads an export, host by host: a hundred thousand need no memory.
func exported(ctx context.Context, server *client.Client, host string, do func(exportedHashes)) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := server.Export(ctx, w, client.ExportOptions{Host: host})
		_ = w.CloseWithError(err) // never fails; nil is the end
		done <- err
	}()
	err := readExport(json.NewDecoder(r), do)
	_ = r.CloseWithError(err) // never fails
	return errors.Join(err, <-done)
}

// readExport reads an export document.
func readExport(d *json.Decoder, do func(exportedHashes)) error {
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if key, ok := t.(string); !ok || !strings.EqualFold(key, "hosts") {
			continue
		}
		if _, err := d.Token(); err != nil { // the array begins
			return err
		}
		for d.More() {
			var h exportedHashes
			if err := d.Decode(&h); err != nil {
				return err
			}
			do(h)
		}
		// To its end, so that it is known to be whole.
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}
