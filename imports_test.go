// Package godwit holds the rules that no single package can hold: who may
// import whom, and which modules from outside are used for what. The program is
// in cmd/godwit.
package godwit

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/architecture.md")

const modulePath = "godwit"

// mayImport is the architecture: what each package may import of this module,
// "internal/" left out; "*" means any. docs/architecture.md shows the same
// table. It is in the order of the layers, the lowest first.
var mayImport = []struct{ pkg, list string }{
	{"dnsname", ""},
	{"histogram", ""},
	{"tsig", "dnsname"},

	{"ddns", "dnsname histogram tsig"}, // the core
	{"ddns/storetest", "ddns dnsname"},
	{"ddns/publishtest", "ddns dnsname"},

	{"awscall", ""}, // back ends
	{"store/sqlite", "ddns dnsname histogram"},
	{"store/dynamodb", "awscall ddns dnsname"},
	{"zone", "dnsname"},
	{"dnssec", "dnsname zone"},
	{"publish/authority", "ddns dnsname zone"},
	{"publish/route53", "awscall ddns dnsname"},

	{"api", "dnsname"}, // front ends, and the other end of the wire
	{"httpserver", "api ddns dnsname signature tsig"},
	{"dnsserver", "ddns dnsname histogram tsig zone"},
	{"secondary", "dnsname tsig"},
	{"certificate", "dnsname"},
	{"lambdaserver", ""},
	{"signature", ""},
	{"client", "api dnsname"},
	{"doctor", "api dnsname"},
	{"agent", "api client dnsname signature"},
	{"agent/source", "agent"},
	{"agent/command", "agent agent/source api client dnsname signature"},

	{"awsstack", "awscall dnsname"}, // an installation in AWS, and what stands in for AWS in tests
	{"awstest", "dnsname"},

	{"config", "dnsname"}, // programs, and tests from outside
	{"cmd/godwit", "*"},
	{"cmd/godwit-agent", "agent agent/command"},
	{"cmd/godwit-lambda", "*"},
	{"e2e", "*"},
	{"bench/src/agentload", "agent api dnsname signature"},
	{"bench/src/awsstub", ""},
	{"bench/src/lamdrive", "awstest"},
}

// onlyIn says which packages may import a module from outside. What tests
// import is not held here, but must be in docs/dependencies.md all the same.
var onlyIn = []struct{ module, list string }{
	{"codeberg.org/miekg/dns", "zone publish/authority dnsserver doctor e2e"},
	{"github.com/BurntSushi/toml", "config agent/command"},
	{"github.com/alecthomas/kong", "config cmd/godwit"},
	{"github.com/aws/aws-lambda-go", "cmd/godwit-lambda"},
	{"github.com/aws/aws-sdk-go-v2/aws", "awscall awsstack cmd/godwit cmd/godwit-lambda"},
	{"github.com/aws/aws-sdk-go-v2/config", "cmd/godwit"},
	{"github.com/aws/aws-sdk-go-v2/service", "awsstack"},
	{"github.com/aws/smithy-go", "awsstack cmd/godwit"},
	{"github.com/google/go-cmp", "ddns/storetest"},
	{"go.yaml.in/yaml/v4", "awstest"},
	{"github.com/kardianos/service", "cmd/godwit"},
	{"github.com/mdp/qrterminal", "cmd/godwit"},
	{"github.com/mholt/acmez", "certificate"},
	{"github.com/prometheus/client_golang", "cmd/godwit"},
	{"github.com/rogpeppe/go-internal", "e2e"},
	{"golang.org/x/net/idna", "dnsname"},
	{"golang.org/x/net/route", "agent/source"},
	{"golang.org/x/sync", "publish/authority dnsserver httpserver cmd/godwit"},
	{"golang.org/x/sys", "store/sqlite dnsserver cmd/godwit agent/source"},
	{"golang.org/x/term", "cmd/godwit"},
	{"modernc.org/sqlite", "store/sqlite"},
	{"pgregory.net/rapid", "ddns/storetest ddns/publishtest"},
}

// mustNotReach says what may not be linked in, however indirectly. A root that
// is not there holds nothing, so a rule may come before its package.
var mustNotReach = []struct{ root, list, why string }{
	{"dnsname", "net net/http os database/sql", "a name is text and octets"},
	{"ddns", "net net/http os os/exec syscall database/sql", "the core does no I/O"},
	{"zone", "net net/http os os/exec syscall database/sql ddns", "what a question gets is decided without I/O"},
	{"api", "net os database/sql ddns", "wire types are for both ends"},
	{"client", "ddns zone store/sqlite publish/authority dnsserver httpserver", "the client links no core and no server"},
	{"signature", "ddns os/exec database/sql", "the agent signs, and links no core"},
	{"awscall", "ddns os/exec database/sql github.com/aws/aws-sdk-go-v2/config", "the function starts fast"},
	{"agent", "ddns zone store/sqlite publish/authority dnsserver httpserver", "the agent links no core and no server"},
	{"cmd/godwit-agent", "ddns zone store/sqlite publish/authority dnsserver httpserver codeberg.org/miekg/dns modernc.org/sqlite github.com/prometheus/client_golang", "the agent fits a router"},
	{"cmd/godwit-lambda", "zone store/sqlite publish/authority dnsserver codeberg.org/miekg/dns modernc.org/sqlite github.com/prometheus/client_golang", "a function that starts fast links no server of ours"},
}

// imported is one import statement.
type imported struct {
	file, pkg, path string // path with the module's own prefix left out
	ours            bool
}

func TestImports(t *testing.T) {
	statements := readImports(t)
	reach := map[string][]string{}
	for _, s := range statements {
		reach[s.pkg] = append(reach[s.pkg], s.path)
		allowed, known := find(s.pkg)
		switch domain, _, _ := strings.Cut(s.path, "/"); {
		case !known: // said below, once for each package
		case s.ours && !listed(allowed, s.path):
			t.Errorf("%s imports %s; %s may import only: %s", s.file, s.path, s.pkg, orNothing(allowed))
		case !s.ours && strings.Contains(domain, ".") && !listed(holders(s.path), s.pkg):
			t.Errorf("%s imports %s, which onlyIn in imports_test.go does not allow there", s.file, s.path)
		}
	}
	for _, pkg := range packages(t) {
		if _, known := find(pkg); !known {
			t.Errorf("package %s is not in mayImport; add it in imports_test.go, then: go test -run Imports -update .", pkg)
		}
	}
	for _, row := range mayImport {
		if files, err := filepath.Glob(filepath.FromSlash(folder(row.pkg) + "/*.go")); err != nil || len(files) == 0 {
			t.Errorf("mayImport lists %s, and there is no such package; take the row out", row.pkg)
		}
	}
	for _, rule := range mustNotReach {
		seen := map[string]bool{}
		for queue := []string{rule.root}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			if seen[at] {
				continue
			}
			seen[at] = true
			for banned := range strings.FieldsSeq(rule.list) {
				if at == banned || strings.Contains(banned, ".") && strings.HasPrefix(at, banned+"/") {
					t.Errorf("%s reaches %s: %s", rule.root, at, rule.why)
				}
			}
			queue = append(queue, reach[at]...)
		}
	}
}

// TestImportsTable holds docs/architecture.md to the tables above.
func TestImportsTable(t *testing.T) {
	const file = "docs/architecture.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	text = replaceBlock(t, text, "imports", importTable())
	text = replaceBlock(t, text, "modules", moduleTable())
	text = replaceBlock(t, text, "reach", reachTable())
	if text == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s shows other tables than imports_test.go; go test -run Imports -update . rewrites them", file)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func importTable() string {
	var b strings.Builder
	b.WriteString("| Package | May import of this module |\n|---|---|\n")
	for _, row := range mayImport {
		list := "nothing"
		switch {
		case row.list == "*":
			list = "anything"
		case row.list != "":
			list = quoted(row.list)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", folder(row.pkg), list)
	}
	return b.String()
}

func moduleTable() string {
	var b strings.Builder
	b.WriteString("| Module | Imported only in |\n|---|---|\n")
	for _, row := range onlyIn {
		fmt.Fprintf(&b, "| `%s` | %s |\n", row.module, quoted(row.list))
	}
	return b.String()
}

func reachTable() string {
	var b strings.Builder
	b.WriteString("| Package | Never links, however indirectly | Because |\n|---|---|---|\n")
	for _, row := range mustNotReach {
		if _, known := find(row.root); known {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", folder(row.root), quoted(row.list), row.why)
		}
	}
	return b.String()
}

// replaceBlock puts block between the markers of that name.
func replaceBlock(t *testing.T, text, name, block string) string {
	t.Helper()
	begin, end := "<!-- "+name+": begin, made by imports_test.go -->\n", "<!-- "+name+": end -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/architecture.md lacks the markers %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + "\n" + block + "\n" + end + after
}

// TestDependencies holds docs/dependencies.md to go.mod: every module that is
// used directly, or as a tool, has its reason there, and nothing else has.
func TestDependencies(t *testing.T) {
	direct := readGoMod(t)
	data, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		cell, ok := strings.CutPrefix(line, "| `")
		if !ok {
			continue
		}
		module, _, _ := strings.Cut(cell, "`")
		if named[module] {
			t.Errorf("docs/dependencies.md names %s twice", module)
		}
		named[module] = true
		if !direct[module] {
			t.Errorf("docs/dependencies.md gives a reason for %s, which go.mod does not require directly", module)
		}
	}
	for module := range direct {
		if !named[module] {
			t.Errorf("go.mod requires %s, and docs/dependencies.md gives no reason for it", module)
		}
	}
}

// readGoMod returns the modules that go.mod requires directly or for a tool.
func readGoMod(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct, all := map[string]bool{}, map[string]bool{}
	var tools []string
	block := "" // the verb of the parenthesis that we are in
	for line := range strings.Lines(string(data)) {
		code, comment, _ := strings.Cut(line, "//")
		fields := strings.Fields(code)
		verb := block
		switch {
		case len(fields) == 0:
			continue
		case fields[0] == ")":
			block = ""
			continue
		case len(fields) == 2 && fields[1] == "(":
			block = fields[0]
			continue
		case block == "":
			verb, fields = fields[0], fields[1:]
		}
		switch verb {
		case "require":
			all[fields[0]] = true
			if strings.TrimSpace(comment) != "indirect" {
				direct[fields[0]] = true
			}
		case "tool":
			tools = append(tools, fields[0])
		}
	}
	for _, tool := range tools {
		for module := range all {
			if strings.HasPrefix(tool, module+"/") {
				direct[module] = true
			}
		}
	}
	if len(direct) == 0 {
		t.Fatal("go.mod requires nothing: is it read rightly?")
	}
	return direct
}

// readImports parses the files itself: a test that asked `go list` would pass
// from the test cache after a forbidden import was added.
func readImports(t *testing.T) []imported {
	t.Helper()
	var out []imported
	for _, file := range goFiles(t) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			whole, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			short, ours := strings.CutPrefix(whole, modulePath+"/")
			if ours {
				short = strings.TrimPrefix(short, "internal/")
			}
			out = append(out, imported{file: file, pkg: packageOf(file), path: short, ours: ours})
		}
	}
	return out
}

// packages are the packages that have a file which is no test.
func packages(t *testing.T) []string {
	var out []string
	for _, file := range goFiles(t) {
		out = append(out, packageOf(file))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// goFiles are the module's Go files but for tests, test data and modules of
// their own.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			name := entry.Name()
			_, notOurs := os.Stat(filepath.Join(file, "go.mod"))
			if file != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || notOurs == nil) {
				return filepath.SkipDir
			}
		case strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go"):
			files = append(files, filepath.ToSlash(file))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func packageOf(file string) string { return strings.TrimPrefix(path.Dir(file), "internal/") }

func folder(pkg string) string {
	if strings.HasPrefix(pkg, "cmd/") || strings.HasPrefix(pkg, "bench/") || pkg == "e2e" {
		return pkg
	}
	return "internal/" + pkg
}

func find(pkg string) (list string, known bool) {
	for _, row := range mayImport {
		if row.pkg == pkg {
			return row.list, true
		}
	}
	return "", false
}

func listed(list, pkg string) bool {
	return list == "*" || slices.Contains(strings.Fields(list), pkg)
}

// holders are the packages that may import what is at that path.
func holders(path string) string {
	for _, row := range onlyIn {
		if strings.HasPrefix(path+"/", row.module+"/") {
			return row.list
		}
	}
	return ""
}

func quoted(list string) string {
	fields := strings.Fields(list)
	for i, f := range fields {
		fields[i] = "`" + f + "`"
	}
	return strings.Join(fields, ", ")
}

func orNothing(list string) string {
	if list == "" {
		return "nothing"
	}
	return list
}
