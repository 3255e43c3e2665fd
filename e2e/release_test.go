//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// releaseVersion is what the release of these tests is called.
const releaseVersion = "1.2.3+4.g0123456"

// maxAgent is how large the agent may be on a small router, in octets.
const maxAgent = 8 << 20

// TestRelease builds a release of the source in two places, compares them, and
// looks at what people get: programs, archives, packages, services. Here it is
// for one platform, and the agent for a router; in make long for all.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a release twice; make test does it")
	}
	for _, name := range []string{"dpkg", "systemd-analyze", "zip"} {
		needProgram(t, name)
	}
	// As root the packages are installed, into a copy of this system that vanishes.
	if os.Getuid() == 0 && !isolated(t, "--mount") {
		return
	}
	host := "linux/" + runtime.GOARCH
	first, second := []string{host, "linux/mipsle"}, []string{host}
	if long() {
		first, second = nil, nil // all
	}
	source := copySource(t, "..")
	dir, again := release(t, source, first...), release(t, copySource(t, source), second...)

	t.Run("reproducible", func(t *testing.T) { sameFiles(t, again, dir) })
	t.Run("checksums", func(t *testing.T) {
		cmd := exec.Command("sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		entries, err2 := os.ReadDir(dir)
		if err := errors.Join(err, err2); err != nil || bytes.Count(sums, []byte("\n")) != len(entries)-1 {
			t.Errorf("%d files (%v), and the sums of\n%s", len(entries), err, sums)
		}
	})
	t.Run("archive", func(t *testing.T) { lookAtArchive(t, dir, "linux_"+runtime.GOARCH) })
	t.Run("small", func(t *testing.T) {
		files := untar(t, filepath.Join(dir, "godwit_"+releaseVersion+"_linux_mipsle.tar.gz"))
		for name, f := range files {
			if filepath.Base(name) == "godwit-agent" && len(f.data) > maxAgent {
				t.Errorf("the agent for linux/mipsle has %d octets, and %d is the limit", len(f.data), maxAgent)
			}
		}
	})
	t.Run("deb", func(t *testing.T) { lookAtDebs(t, dir) })
	t.Run("ipk", func(t *testing.T) { lookAtIPK(t, dir) })
	t.Run("install", func(t *testing.T) { installDebs(t, dir) })
}

// copySource copies what a release is built from.
func copySource(t *testing.T, root string) string {
	t.Helper()
	to := t.TempDir()
	for _, part := range []string{"clients", "cmd", "internal", "packaging", "scripts"} {
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "README.md", "LICENSE", "CHANGELOG.md"} {
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

// release builds one and returns its folder.
func release(t *testing.T, source string, platforms ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "release")
	cmd := exec.Command(filepath.Join(source, "scripts/release.sh"), append([]string{dir}, platforms...)...)
	cmd.Env = append(os.Environ(), "VERSION="+releaseVersion, "SOURCE_DATE_EPOCH=1767225601")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return dir
}

// sameFiles wants each file of a release in the other one, octet for octet.
func sameFiles(t *testing.T, some, all string) {
	entries, err := os.ReadDir(some)
	if err != nil || len(entries) < 5 {
		t.Fatalf("%d files (%v)", len(entries), err)
	}
	for _, e := range entries {
		if e.Name() == "SHA256SUMS" { // of another number of platforms
			continue
		}
		one, err1 := os.ReadFile(filepath.Join(some, e.Name()))
		other, err2 := os.ReadFile(filepath.Join(all, e.Name()))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, other) {
			t.Errorf("%s is not the same when it is built again elsewhere (%v)", e.Name(), err)
		}
	}
}

// packed is a file in an archive.
type packed struct {
	mode fs.FileMode
	data []byte
}

// untar reads a gzipped archive, whose files must all belong to root.
func untar(t *testing.T, path string) map[string]packed {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]packed{}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: %s belongs to %d:%d", path, h.Name, h.Uid, h.Gid)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			files[strings.TrimPrefix(h.Name, "./")] = packed{h.FileInfo().Mode(), content}
		}
	}
}

// modes are "mode name" of files, in order.
func modes(files map[string]packed) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, fmt.Sprintf("%o %s", files[name].mode.Perm(), name))
	}
	return list
}

func lookAtArchive(t *testing.T, dir, platform string) {
	top := "godwit_" + releaseVersion + "_" + platform
	files := untar(t, filepath.Join(dir, top+".tar.gz"))
	want := []string{"644 CHANGELOG.md", "644 LICENSE", "644 README.md", "644 agent.toml", "755 godwit", "755 godwit-agent", "755 godwit.sh", "644 godwit.toml", "644 grafana.json", "644 prometheus.rules.yml"}
	for i, line := range want {
		want[i] = strings.Replace(line, " ", " "+top+"/", 1)
	}
	if got := modes(files); !slices.Equal(got, want) {
		t.Errorf("the archive has\n%s", strings.Join(got, "\n"))
	}
	out := t.TempDir()
	for name, f := range files {
		if err := os.WriteFile(filepath.Join(out, filepath.Base(name)), f.data, f.mode.Perm()); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"godwit", "godwit-agent"} {
		if got, err := exec.Command(filepath.Join(out, program), "version").Output(); err != nil || !strings.HasPrefix(string(got), program+" "+releaseVersion+" ") {
			t.Errorf("%s version: %s (%v)", program, got, err)
		}
	}
	if n := len(regexp.MustCompile(`PK\x03\x04(?s:.{26})bootstrap`).FindAll(files[top+"/godwit"].data, -1)); n != 2 {
		t.Errorf("godwit carries %d functions for AWS, not one for each architecture", n)
	}

	// The sample settings are settings.
	check := exec.Command(filepath.Join(out, "godwit"), "serve", "--check", "--config", filepath.Join(out, "godwit.toml"), "--data", filepath.Join(out, "data"))
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("godwit.toml: %v\n%s", err, said)
	}
	// No agent runs: 1. A setting that is wrong would be 2.
	status := exec.Command(filepath.Join(out, "godwit-agent"), "status", "-config", filepath.Join(out, "agent.toml"), "-state-dir", filepath.Join(out, "state"))
	if said, err := status.CombinedOutput(); status.ProcessState.ExitCode() != 1 {
		t.Errorf("agent.toml: %v\n%s", err, said)
	}
}

// maxExposure is what systemd-analyze security may find, in tenths: up to 2 is OK
// by its own scale, a service without any restriction has 96.
const maxExposure = "20"

func lookAtDebs(t *testing.T, dir string) {
	for _, c := range []struct {
		name string
		want []string
	}{
		{"godwit", []string{
			"755 usr/bin/godwit", "644 usr/lib/systemd/system/godwit.service", "644 usr/share/doc/godwit/CHANGELOG.md", "644 usr/share/doc/godwit/README.md",
			"644 usr/share/doc/godwit/copyright", "644 usr/share/doc/godwit/examples/godwit.toml",
			"644 usr/share/doc/godwit/examples/grafana.json", "644 usr/share/doc/godwit/examples/prometheus.rules.yml",
		}},
		{"godwit-agent", []string{
			"755 usr/bin/godwit-agent", "644 usr/lib/systemd/system/godwit-agent.service", "644 usr/share/doc/godwit-agent/CHANGELOG.md",
			"644 usr/share/doc/godwit-agent/README.md", "644 usr/share/doc/godwit-agent/copyright", "644 usr/share/doc/godwit-agent/examples/agent.toml",
			"755 usr/share/doc/godwit-agent/examples/godwit.sh",
		}},
	} {
		root := t.TempDir()
		if out, err := exec.Command("dpkg-deb", "-x", deb(dir, c.name), root).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		files := map[string]packed{}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			files[name] = packed{mode: info.Mode()}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := modes(files); !slices.Equal(got, c.want) {
			t.Errorf("the package %s has\n%s", c.name, strings.Join(got, "\n"))
		}
		lookAtUnit(t, root, c.name)
	}
}

// deb is the file of a Debian package for this machine.
func deb(dir, name string) string {
	return filepath.Join(dir, name+"_"+releaseVersion+"_"+runtime.GOARCH+".deb")
}

// lookAtUnit lets systemd say whether it understands a service, and how much the
// service may do.
func lookAtUnit(t *testing.T, root, name string) {
	unit := filepath.Join(root, "usr/lib/systemd/system", name+".service")
	data, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	// systemd looks whether the program is there.
	program := filepath.Join(root, "usr/bin", name)
	if data = bytes.ReplaceAll(data, []byte("=/usr/bin/"+name+" "), []byte("="+program+" ")); !bytes.Contains(data, []byte(program)) {
		t.Errorf("%s does not start /usr/bin/%[1]s", name)
	}
	if err := os.WriteFile(unit, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", unit}, {"security", "--offline=true", "--threshold=" + maxExposure, unit}} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
	rights := "\nCapabilityBoundingSet=\n"
	if name == "godwit" {
		rights = "\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
	}
	if !bytes.Contains(data, []byte(rights)) {
		t.Errorf("%s has other capabilities than %q", name, rights)
	}
}

// lookAtIPK looks at the package for OpenWrt, whose parts are archives in an archive.
func lookAtIPK(t *testing.T, dir string) {
	list, err := filepath.Glob(filepath.Join(dir, "godwit-agent_"+releaseVersion+"_mipsel_24kc.ipk"))
	if err != nil || len(list) != 1 {
		t.Fatalf("packages %q (%v)", list, err)
	}
	parts := untar(t, list[0])
	out := t.TempDir()
	part := func(name string) map[string]packed {
		file := filepath.Join(out, name)
		if err := os.WriteFile(file, parts[name].data, 0o600); err != nil {
			t.Fatal(err)
		}
		return untar(t, file)
	}
	data, control := part("data.tar.gz"), part("control.tar.gz")
	want := []string{"644 etc/config/godwit-agent", "755 etc/init.d/godwit-agent", "644 lib/upgrade/keep.d/godwit-agent", "755 usr/bin/godwit-agent"}
	if got := modes(data); !slices.Equal(got, want) {
		t.Errorf("the package has\n%s", strings.Join(got, "\n"))
	}
	for _, line := range []string{"Architecture: mipsel_24kc\n", "Require-User: godwit-agent\n", "Version: " + releaseVersion + "\n"} {
		if !bytes.Contains(control["control"].data, []byte(line)) {
			t.Errorf("the control file lacks %q:\n%s", line, control["control"].data)
		}
	}
	if got := string(control["conffiles"].data); got != "/etc/config/godwit-agent\n" {
		t.Errorf("its settings are %q", got)
	}
}

// installDebs installs the packages for real, removes and purges them, in a copy
// of this system that is a mount of its own.
func installDebs(t *testing.T, dir string) {
	needRoot(t, "to install packages")
	space := t.TempDir()
	if err := unix.Mount("tmpfs", space, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(space, name) }
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_ = unix.Unmount(at("root"), unix.MNT_DETACH)
		_ = unix.Unmount(space, unix.MNT_DETACH)
	})
	if err := unix.Mount("overlay", at("root"), "overlay", 0, "lowerdir=/,upperdir="+at("upper")+",workdir="+at("work")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/dev", at("root/dev"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"godwit", "godwit-agent"} {
		data, err := os.ReadFile(deb(dir, name))
		if err == nil {
			err = os.WriteFile(at("root/"+name+".deb"), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("chroot", append([]string{at("root")}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	enabled := func() (list []string) {
		found, err := filepath.Glob(at("root/etc/systemd/system/multi-user.target.wants/godwit*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			list = append(list, filepath.Base(path))
		}
		return list
	}
	in("dpkg", "-i", "/godwit.deb", "/godwit-agent.deb")
	if got := in("/usr/bin/godwit", "version"); !strings.HasPrefix(got, "godwit "+releaseVersion) {
		t.Errorf("godwit version: %s", got)
	}
	if got := enabled(); !slices.Equal(got, []string{"godwit-agent.service", "godwit.service"}) {
		t.Errorf("enabled are %q", got)
	}
	if out := in("dpkg", "--verify", "godwit", "godwit-agent"); out != "" {
		t.Errorf("other files than were packed:\n%s", out)
	}
	// What is the operator's stays, whatever is done with the packages.
	for _, file := range []string{"etc/godwit/godwit.toml", "var/lib/private/godwit/godwit.db"} {
		if err := os.MkdirAll(filepath.Dir(at("root/"+file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at("root/"+file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in("dpkg", "-i", "/godwit.deb", "/godwit-agent.deb") // an upgrade
	in("dpkg", "-r", "godwit", "godwit-agent")
	if out := in("dpkg", "-P", "godwit", "godwit-agent"); !strings.Contains(out, "/var/lib/private/godwit is kept") {
		t.Errorf("purging does not say what it leaves:\n%s", out)
	}
	if got := enabled(); got != nil {
		t.Errorf("after purging, enabled are %q", got)
	}
	for _, file := range []string{"etc/godwit/godwit.toml", "var/lib/private/godwit/godwit.db"} {
		if _, err := os.Stat(at("root/" + file)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(at("root/usr/bin/godwit")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the program is still there (%v)", err)
	}
}

// TestContainerfile holds the recipe of the container to what godwit and its
// source have; it is not built here, where no engine is.
func TestContainerfile(t *testing.T) {
	data, err := os.ReadFile("../packaging/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(data), "")
	text = strings.ReplaceAll(text, "\\\n", "")
	build, last, found := strings.Cut(text, "\nFROM scratch\n")
	if !found {
		t.Fatal("the last stage is not empty at its start")
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY (.+) \S+$`).FindAllStringSubmatch(build, -1) {
		for name := range strings.FieldsSeq(m[1]) {
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Errorf("COPY %s: %v", m[1], err)
			}
		}
	}
	for line := range strings.Lines(last) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "COPY", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD":
		case "USER":
			if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(rest) {
				t.Errorf("USER %s: without /etc/passwd it has to be numbers, and not root", rest)
			}
		case "ENV":
			// godwit takes the settings.
			cmd := exec.Command(programs.plain, "serve", "--check", "--zone", zone)
			cmd.Env = strings.Fields(strings.Replace(rest, "/var/lib/godwit", t.TempDir(), 1))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("ENV %s: %v\n%s", rest, err, out)
			}
		case "HEALTHCHECK":
			_, list, _ := strings.Cut(rest, "CMD ")
			args := regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(list, -1)
			if len(args) == 0 || args[0][1] != "/usr/bin/godwit" {
				t.Fatalf("HEALTHCHECK %s: there is no other program than /usr/bin/godwit", rest)
			}
			d := serve(t, launch{plain: true})
			var words []string
			for _, a := range args[1:] {
				words = append(words, strings.Replace(a[1], "http://127.0.0.1:8053", strings.TrimSuffix(d.url(), "/"), 1))
			}
			if r := run(words...); r.code != 0 {
				t.Errorf("a healthy server fails the check: %+v", r)
			}
			d.kill()
			if r := run(words...); r.code == 0 {
				t.Error("a server that is gone passes the check")
			}
		default:
			t.Errorf("unknown instruction %q", line)
		}
	}
	if !strings.Contains(last, "\nUSER ") {
		t.Error("it runs as root")
	}
}
