package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestProgramPages: what is dropped does not count any more, and is there again
// when it is used, as this test's own code is.
func TestProgramPages(t *testing.T) {
	resident := func() int {
		t.Helper()
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
				n, err := strconv.Atoi(strings.Fields(rest)[0])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatal("no RssFile in /proc/self/status")
		return 0
	}
	before := resident()
	dropProgramPages()
	if after := resident(); after >= before*3/4 {
		t.Errorf("%d KiB of files before, %d after", before, after)
	}
}
