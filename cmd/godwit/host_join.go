package main

import (
	"time"

	"github.com/mdp/qrterminal/v3"

	"godwit/internal/api"
)

// printJoin prints a new join code and what to do with it on the device.
func (a *app) printJoin(c api.Created, target string) {
	a.print("\nIts join code, shown this once, good once and until %s:\n\n  %s", c.Expires.UTC().Format(time.RFC3339), c.JoinCode)
	url := c.URL
	if url == "" {
		url = "https://YOUR-SERVER"
		a.say("The server does not know its own URL: replace %s below, and start it with --url.", url)
	}
	a.print("\nOn the machine whose address it shall have, which makes a key of its own:\n\n  godwit agent join %s %s", shellQuote(url), c.JoinCode)
	if isTerminal(a.stdout) && c.URL != "" {
		a.print("\nThe same as a QR code, what comes after \"godwit agent join\":\n")
		qrterminal.GenerateHalfBlock(url+" "+c.JoinCode, qrterminal.L, a.stdout)
	}
	a.print("\nThen see: godwit host show %s%s", shellQuote(c.Host), target)
}
