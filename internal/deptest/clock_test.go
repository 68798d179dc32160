package deptest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestElapsedTimeIsMonotonic looks for time that is measured from a moment
// made of seconds since 1970. Such a moment has no monotonic reading, so the
// result jumps with the wall clock, which NTP and people set.
func TestElapsedTimeIsMonotonic(t *testing.T) {
	files := token.NewFileSet()
	looked := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		looked++
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && (isTimeCall(call, "Since", "Until") || isMethodCall(call, "Sub")) && len(call.Args) == 1 {
				if made, ok := call.Args[0].(*ast.CallExpr); ok && isTimeCall(made, "Unix", "UnixMilli", "UnixMicro") {
					t.Errorf("%s: elapsed time by the wall clock; keep a time.Time", files.Position(call.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 100 {
		t.Errorf("only %d files were looked at", looked)
	}
}

func isTimeCall(call *ast.CallExpr, names ...string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := selector.X.(*ast.Ident)
	return ok && pkg.Name == "time" && isMethodCall(call, names...)
}

func isMethodCall(call *ast.CallExpr, names ...string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	for _, name := range names {
		if selector.Sel.Name == name {
			return true
		}
	}
	return false
}
