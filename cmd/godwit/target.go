package main

import (
	"os"
	"path/filepath"
	"strings"

	"godwit/internal/client"
	"godwit/internal/config"
)

// runSocket is where packages put the daemon's socket.
const runSocket = "/run/godwit/admin.sock"

// targetFlags say which installation a command speaks to.
type targetFlags struct {
	Target         string `env:"GODWIT_TARGET" placeholder:"TARGET" help:"Installation to speak to: local:DIR (the server's data directory), https://HOST, or aws:STACK with your own AWS credentials (aws:STACK@REGION for another region). Default: ${run_socket} if it is there, else the default data directory."`
	AdminTokenFile string `env:"GODWIT_ADMIN_TOKEN_FILE" placeholder:"FILE" help:"File with the admin token, for a target with https."`
}

// jsonFlag asks for a result that programs read.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print the result as one JSON document."`
}

// local returns the data directory that is meant; "" if the target is remote or
// the socket in /run. An installation in AWS has none, and is an error.
func (t targetFlags) local(a *app) (dir string, err error) {
	text, err := t.text(a)
	if err != nil {
		return "", err
	}
	if stack, ok := strings.CutPrefix(text, awsTarget); ok {
		return "", noFiles(stack)
	}
	dir, ok := strings.CutPrefix(text, "local:")
	if !ok {
		return "", nil
	}
	return dir, nil
}

// text is the target in full: the one that was given, or the default.
func (t targetFlags) text(a *app) (string, error) {
	dir, isLocal := strings.CutPrefix(t.Target, "local:")
	switch {
	case t.Target == "":
		if _, err := os.Stat(runSocket); err == nil {
			return runSocket, nil
		}
		dir, err := config.DefaultData(a.env)
		if err != nil {
			return "", usage("%s; name a data directory: --target local:DIR", err)
		}
		return "local:" + dir, nil
	case isLocal && dir != "":
		dir, err := filepath.Abs(dir)
		return "local:" + dir, err
	}
	return t.Target, nil
}

// client makes the client of the installation that is meant.
func (t targetFlags) client(a *app) (*client.Client, error) {
	text, err := t.text(a)
	if err != nil {
		return nil, err
	}
	var token string
	if strings.HasPrefix(text, "https:") || strings.HasPrefix(text, "http:") {
		if t.AdminTokenFile == "" {
			return nil, usage("%s asks for an admin token; add --admin-token-file FILE", text)
		}
		if token, err = a.readSecret(t.AdminTokenFile, "Admin token"); err != nil {
			return nil, err
		}
	} else if fromEnv, _ := a.env.Lookup("GODWIT_ADMIN_TOKEN_FILE"); t.AdminTokenFile != "" && fromEnv != t.AdminTokenFile {
		return nil, usage("--admin-token-file is for a target with https; %s needs none", text)
	}
	config := client.Config{Target: text, Token: token}
	if stack, ok := strings.CutPrefix(text, awsTarget); ok {
		if config.Transport, err = newStackDoor(a, stack); err != nil {
			return nil, err
		}
		config.ImportHosts = stackImport
	}
	c, err := client.New(config)
	if err != nil {
		return nil, usage("%s", err)
	}
	return c, nil
}

// targetFlag is how a command that is printed names the same installation.
func (t targetFlags) targetFlag(a *app) string {
	if t.Target == "" {
		return ""
	}
	text, err := t.text(a)
	if err != nil {
		return ""
	}
	if t.AdminTokenFile != "" {
		return " --target " + shellQuote(text) + " --admin-token-file " + shellQuote(t.AdminTokenFile)
	}
	return " --target " + shellQuote(text)
}

// shellQuote makes a word that a POSIX shell reads back as it is.
func shellQuote(s string) string {
	plain := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,") == ""
	if plain && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
