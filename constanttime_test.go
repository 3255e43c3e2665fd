package godwit

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proofWord is how values are called that show who somebody is.
var proofWord = regexp.MustCompile(`(?i)(hash|sum|mac|digest|verifier|fingerprint|secret|token|signature|hmac)$`)

// plainCompare finds where such a value is compared in a way that takes longer
// the more of it is right, and what is not compared but asked for: nil, "", a
// length, a literal.
func plainCompare(files *token.FileSet, file *ast.File) (found []string) {
	at := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", files.Position(n.Pos()), what))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && !isPlain(n.X) && !isPlain(n.Y) && (isProof(n.X) || isProof(n.Y)) {
				at(n, n.Op.String())
			}
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				break
			}
			pkg, _ := f.X.(*ast.Ident)
			if pkg == nil {
				break
			}
			switch name := pkg.Name + "." + f.Sel.Name; name {
			case "bytes.Equal", "bytes.Compare", "bytes.HasPrefix", "slices.Equal", "slices.Compare", "reflect.DeepEqual", "strings.EqualFold", "strings.Compare":
				for _, arg := range n.Args {
					if isProof(arg) {
						at(n, name)
						break
					}
				}
			}
		}
		return true
	})
	return found
}

// isPlain tells whether an operand is nobody's secret.
func isPlain(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit, *ast.CompositeLit:
		return true
	case *ast.ParenExpr:
		return isPlain(e.X)
	case *ast.Ident:
		return e.Name == "nil" || isKind(e.Name)
	case *ast.SelectorExpr:
		return isKind(e.Sel.Name)
	}
	return false
}

// isKind tells whether a name is a constant that says what kind of proof it is,
// such as KindToken.
func isKind(name string) bool { return strings.Contains(name, "Kind") || name == "FlagValueToken" }

func isProof(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return proofWord.MatchString(e.Name)
	case *ast.SelectorExpr:
		return proofWord.MatchString(e.Sel.Name)
	case *ast.ParenExpr:
		return isProof(e.X)
	case *ast.SliceExpr:
		return isProof(e.X)
	case *ast.StarExpr:
		return isProof(e.X)
	case *ast.CallExpr: // string(hash), s.Reveal()
		if f, ok := e.Fun.(*ast.SelectorExpr); ok {
			return f.Sel.Name == "Reveal" || isProof(f.X)
		}
		f, ok := e.Fun.(*ast.Ident)
		return ok && f.Name != "len" && len(e.Args) == 1 && isProof(e.Args[0])
	}
	return false
}

// TestProofsInConstantTime holds the code that checks proofs to comparisons that
// take the same time whatever is compared (crypto/subtle): no ==, no bytes.Equal.
// A store checks no proof; what it compares are checksums of its rows.
func TestProofsInConstantTime(t *testing.T) {
	files := token.NewFileSet()
	seen := 0
	for _, dir := range []string{"internal/ddns", "internal/httpserver", "internal/dnsserver", "cmd/*"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(files, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			for _, f := range plainCompare(files, file) {
				t.Errorf("%s of what may be a proof; compare it with crypto/subtle", f)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// The check itself sees what it is for, and nothing else.
func TestPlainCompare(t *testing.T) {
	const bad = `package p
func f() {
	_ = sum == c.Verifier
	_ = p.Hash != sum
	_ = bytes.Equal(sum[:], c.Verifier)
	_ = string(mac) == string(x)
	_ = slices.Equal(x, (want.Fingerprint))
	_ = secret.Reveal() == text
}`
	const good = `package p
func f() {
	_ = c.Verifier == nil
	_ = secret == ""
	_ = c.Kind == ddns.KindToken
	_ = len(hash) == len(sum)
	_ = s.AdminTokenHash == ([32]byte{})
	_ = bytes.Equal(name, other)
	_ = subtle.ConstantTimeCompare(sum, hash) == 1
}`
	for text, want := range map[string]int{bad: 6, good: 0} {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, "p.go", text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := plainCompare(files, file); len(got) != want {
			t.Errorf("%d found, not %d:\n%s", len(got), want, strings.Join(got, "\n"))
		}
	}
}
