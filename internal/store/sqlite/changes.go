package sqlite

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"unsafe"
)

// The log of everyday changes is two files beside the database: see pending.go
// for what it is for, and docs/decisions/0015 for why it is no table.
//
// A file is a row of records, each of which begins at a block of its own and is
// synced before the next one is written. So power that goes tears the newest
// record at most, and never one that was acknowledged. Blocks are written with
// zeros before they are first used, and used again from the first one on when
// all records of the file are in the hosts' rows: a sync then has nothing to
// write but the record. Numbers of records never go back, so what is left of an
// earlier round says by its number that it is.
//
// A record is, little endian: magic (4 octets), length of the text (4), number
// (8), CRC-32C of the database's key, these 16 octets and the text (4), 0 (4), and
// the text, which a row of the table pending would have in its column batch.
const (
	changesFile  = "godwit.changes-" // then 0 or 1
	changesMagic = 0xf3646773        // no text begins so
	changesHead  = 24
	// changesBlock is what a disk writes whole, or not at all, and what direct
	// writes are aligned to, in octets.
	changesBlock = 4096
	// A file grows to its double, by this much at least and at most, in octets.
	changesGrowMin, changesGrowMax = 256 << 10, 1 << 20
	// changesKept is how long a file stays that has become longer.
	changesKept = 64 << 20
)

// noteLog is the key of the note that the records of a database's log are made
// with, so that those of another one, or of before a restore, are not taken for its own.
const noteLog = "log"

// logged is a record of the log, or a row of the table pending.
type logged struct {
	id   int64
	text string
}

// changeLog writes the two files. It is the writer's.
type changeLog struct {
	dir, key string
	files    [2]changeFile
	at       int    // which is written
	room     []byte // aligned to blocks
}

type changeFile struct {
	file   *os.File // nil: not opened yet
	synced bool     // by each write
	size   int64    // its blocks have been written up to here
	end    int64    // where the next record goes; 0: there is none
	last   int64    // number of the newest record
}

func changesName(dir string, i int) string {
	return filepath.Join(dir, changesFile+strconv.Itoa(i))
}

// append writes a record, and returns when it is durable. It returns how many
// octets that took.
func (l *changeLog) append(id int64, text []byte) (int, error) {
	f := &l.files[l.at]
	if f.file == nil {
		if err := f.open(l.dir, l.at); err != nil {
			return 0, err
		}
	}
	n := blocks(changesHead + len(text))
	for f.end+int64(n) > f.size {
		grow := min(max(f.size, changesGrowMin), changesGrowMax)
		l.room = aligned(l.room, int(grow))
		clear(l.room)
		if err := f.write(l.room, f.size); err != nil {
			return 0, fmt.Errorf("make the log of changes longer: %w", err)
		}
		f.size += grow
	}
	l.room = aligned(l.room, n)
	putRecord(l.room, l.key, id, text)
	if err := f.write(l.room, f.end); err != nil {
		return 0, fmt.Errorf("write to the log of changes: %w", err)
	}
	f.end += int64(n)
	f.last = id
	return n, nil
}

// turn goes on in the other file, if nothing of that is needed.
func (l *changeLog) turn() {
	if l.files[1-l.at].end == 0 {
		l.at = 1 - l.at
	}
}

// free has the files used again whose records are all in the database, synced.
func (l *changeLog) free(upTo int64) {
	for i := range l.files {
		f := &l.files[i]
		if f.end == 0 || f.last > upTo {
			continue
		}
		f.end = 0
		if f.size > changesKept && f.file.Truncate(changesKept) == nil {
			f.size = changesKept
		}
	}
}

// close lets go of the files.
func (l *changeLog) close() error {
	var errs []error
	for i := range l.files {
		if f := l.files[i].file; f != nil {
			errs = append(errs, f.Close())
		}
		l.files[i] = changeFile{}
	}
	return errors.Join(errs...)
}

// remove takes the files away.
func (l *changeLog) remove() error {
	err := l.close()
	for i := range l.files {
		if e := os.Remove(changesName(l.dir, i)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// bytes is how much of the disk the files take.
func changesBytes(dir string) (n int64) {
	for i := range 2 {
		if info, err := os.Stat(changesName(dir, i)); err == nil {
			n += info.Size()
		}
	}
	return n
}

func (f *changeFile) open(dir string, i int) (err error) {
	f.file, f.synced, err = openChanges(changesName(dir, i))
	if err != nil {
		return fmt.Errorf("open the log of changes: %w", err)
	}
	info, err := f.file.Stat()
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		err = errors.Join(err, f.file.Close())
		f.file = nil // so that going on does not close it again, and fail
		return err
	}
	f.size = info.Size() / changesBlock * changesBlock
	return nil
}

// write writes whole blocks, and syncs them.
func (f *changeFile) write(b []byte, at int64) error {
	_, err := f.file.WriteAt(b, at)
	if errors.Is(err, syscall.EINVAL) && f.synced {
		// The file system takes other blocks than ours where its cache is passed by.
		name := f.file.Name()
		_ = f.file.Close()
		f.synced = false
		if f.file, err = os.OpenFile(name, os.O_RDWR, 0); err == nil {
			_, err = f.file.WriteAt(b, at)
		}
	}
	if err == nil && !f.synced {
		err = f.file.Sync()
	}
	return err
}

// blocks is n octets as whole blocks.
func blocks(n int) int { return (n + changesBlock - 1) / changesBlock * changesBlock }

// aligned is n octets that begin at a multiple of a block in memory, those of b if they do.
func aligned(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	b = make([]byte, n+changesBlock)
	from := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (changesBlock - 1)
	return b[from : from+n : from+n]
}

// putRecord makes a record of whole blocks.
func putRecord(b []byte, key string, id int64, text []byte) {
	binary.LittleEndian.PutUint32(b, changesMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(text)))
	binary.LittleEndian.PutUint64(b[8:], uint64(id))
	clear(b[changesHead+copy(b[changesHead:], text):])
	binary.LittleEndian.PutUint64(b[16:], uint64(sumRecord(b, key, len(text))))
}

// sumRecord is the checksum of the record that b begins with.
func sumRecord(b []byte, key string, length int) uint32 {
	sum := crc32.Checksum([]byte(key), castagnoli)
	sum = crc32.Update(sum, castagnoli, b[:16])
	return crc32.Update(sum, castagnoli, b[changesHead:changesHead+length])
}

// getRecord reads the record that b begins with; n is how many octets it takes,
// 0 if there is none.
func getRecord(b []byte, key string) (id int64, text []byte, n int) {
	if len(b) < changesBlock || binary.LittleEndian.Uint32(b) != changesMagic {
		return 0, nil, 0
	}
	length := int64(binary.LittleEndian.Uint32(b[4:]))
	if length > int64(len(b)-changesHead) || binary.LittleEndian.Uint64(b[16:]) != uint64(sumRecord(b, key, int(length))) {
		return 0, nil, 0
	}
	return int64(binary.LittleEndian.Uint64(b[8:])), b[changesHead : changesHead+length], blocks(changesHead + int(length))
}

// readRecords appends the records of a file after a number to list. A record that
// is torn and has one after it was acknowledged: that gives a *DamagedError.
func readRecords(list []logged, file []byte, key string, after int64) ([]logged, error) {
	last := int64(0)
	for len(file) > 0 {
		id, text, n := getRecord(file, key)
		if n == 0 || id <= last {
			break
		}
		if last = id; id > after {
			list = append(list, logged{id, string(text)})
		}
		file = file[min(n, len(file)):]
	}
	for ; len(file) > 0; file = file[min(changesBlock, len(file)):] {
		if id, _, n := getRecord(file, key); n > 0 && id > max(last, after) {
			return nil, damagedChanges(max(last, after)+1, errors.New("they cannot be read, and later ones can"))
		}
	}
	return list, nil
}

// readLog reads what the files of a data directory have after a number, in order.
func readLog(dir, key string, after int64) (list []logged, err error) {
	for i := range 2 {
		file, err := os.ReadFile(changesName(dir, i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			list, err = readRecords(list, file, key, after)
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b logged) int { return cmp.Compare(a.id, b.id) })
	return list, nil
}
