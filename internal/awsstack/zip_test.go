package awsstack_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"godwit/internal/awsstack"
)

// TestZipIsReproducible builds the function's zip twice, of the same source in
// two places.
func TestZipIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the function twice; make test does it")
	}
	copyOf := func(root string) string {
		to := t.TempDir()
		for _, part := range []string{"internal", "cmd/godwit-lambda", "scripts"} {
			if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(root, part))); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"go.mod", "go.sum"} {
			data, err := os.ReadFile(filepath.Join(root, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(to, file), data, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return to
	}
	build := func(root string) []byte {
		dir := t.TempDir()
		if out, err := exec.Command(filepath.Join(root, "scripts/lambda-zip.sh"), dir, "amd64").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "godwit-lambda-amd64.zip"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	one := copyOf("../..")
	first, second := build(one), build(copyOf(one))
	if !bytes.Equal(first, second) {
		t.Errorf("two builds differ: %d and %d octets", len(first), len(second))
	}
	if architecture, err := awsstack.CheckZip(first); err != nil || architecture != awsstack.AMD64 {
		t.Errorf("got %s, %v", architecture, err)
	}
	if limit := 6 << 20; len(first) > limit {
		t.Errorf("the zip has %d octets, and %d is the limit", len(first), limit)
	}
}
