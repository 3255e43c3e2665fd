package httpserver_test

import "testing"

// TestDyndns2Golden: each row of the door's tables in docs/protocols.md.
func TestDyndns2Golden(t *testing.T) { newRouterRig(t).golden("dyndns2.golden") }
