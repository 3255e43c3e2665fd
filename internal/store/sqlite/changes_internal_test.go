package sqlite

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// FuzzReadRecords: what is read of a file are whole records, in the order of
// their numbers and after the one asked for; what is written behind them is read
// too, and nothing else has changed.
func FuzzReadRecords(f *testing.F) {
	const key = "key"
	file := func(ids ...int64) (b []byte) {
		for _, id := range ids {
			text := bytes.Repeat([]byte("x"), int(id)*1000)
			room := make([]byte, blocks(changesHead+len(text)))
			putRecord(room, key, id, text)
			b = append(b, room...)
		}
		return b
	}
	whole := file(1, 2, 3, 7)
	f.Add([]byte{}, int64(0))
	f.Add(whole, int64(0))
	f.Add(whole, int64(2))
	f.Add(whole[:len(whole)-1], int64(0))
	f.Add(whole[changesBlock:], int64(0))
	f.Add(append(file(9, 10), file(3, 4)...), int64(8))
	f.Add(append(file(9), make([]byte, 100)...), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, after int64) {
		if len(b) > 1<<18 || after < 0 {
			return
		}
		list, err := readRecords(nil, b, key, after)
		if err != nil {
			if len(list) > 0 {
				t.Fatal("records of a damaged file")
			}
			return
		}
		last := after
		length := 0
		for _, l := range list {
			if l.id <= last {
				t.Fatalf("number %d after %d", l.id, last)
			}
			last = l.id
			length += blocks(changesHead + len(l.text))
		}
		if length > blocks(len(b)) {
			t.Fatalf("%d octets of records in %d", length, len(b))
		}
		if len(list) == 0 || len(b) != length {
			return
		}
		next := make([]byte, changesBlock)
		putRecord(next, key, last+1, []byte("next"))
		more, err := readRecords(nil, append(bytes.Clone(b), next...), key, after)
		if err != nil || len(more) != len(list)+1 || more[len(list)] != (logged{last + 1, "next"}) {
			t.Fatalf("a record at the end: %d of %d are read, %v", len(more), len(list)+1, err)
		}
	})
}

// TestOtherBlocks: a file system that refuses what is written past its cache gets
// it through that, synced, from then on.
func TestOtherBlocks(t *testing.T) {
	dir := t.TempDir()
	var f changeFile
	if err := f.open(dir, 0); err != nil {
		t.Fatal(err)
	}
	text := []byte("no whole block, and not at one")
	err := errors.Join(f.write(make([]byte, changesBlock)[1:], 1), f.write(text, 7), f.write(text, 100), f.file.Close())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(changesName(dir, 0))
	if err != nil || len(got) != changesBlock || !bytes.Equal(got[7:7+len(text)], text) || !bytes.Equal(got[100:100+len(text)], text) {
		t.Errorf("%q, %v", got[:200], err)
	}
}
