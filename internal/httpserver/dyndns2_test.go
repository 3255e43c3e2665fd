package httpserver_test

import "testing"

// TestDyndns2Golden: each row of the door's tables in docs/protocols.md.
func TestDyndns2Golden(t *testing.T) { newRouterRig(t).golden("dyndns2.golden") }

// TestDialectsGolden: the doors with words of their own, and the echo.
func TestDialectsGolden(t *testing.T) { newRouterRig(t).golden("dialects.golden") }

// TestRecordedGolden: requests as routers and programs send them.
func TestRecordedGolden(t *testing.T) { newRouterRig(t).golden("recorded.golden") }
