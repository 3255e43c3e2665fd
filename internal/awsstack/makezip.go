//go:build ignore

// Makezip packs a program as Lambda wants it: one file, bootstrap, that may be
// executed. The same program gives the same octets: no time, no owner, no order
// of a file system.
//
// usage: go run makezip.go PROGRAM ZIP
package main

import (
	"archive/zip"
	"compress/flate"
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run makezip.go PROGRAM ZIP")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "makezip:", err)
		os.Exit(1)
	}
}

func pack(program, target string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	archive := zip.NewWriter(out)
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate} // its zero time is 1980's, the format's first
	header.SetMode(0o755)
	file, err := archive.CreateHeader(header)
	if err == nil {
		_, err = file.Write(content)
	}
	if err == nil {
		err = archive.Close()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}
