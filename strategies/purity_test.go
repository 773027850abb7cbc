package strategies_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// pureRooms, in the order of their imports: one function of a session's header and events, bit for bit.
var pureRooms = []string{"data", "data/wire", "data/polymarket", "data/kalshi", "data/stream", "strategies", "strategies/cross", "strategies/parity", "strategies/basket",
	"strategies/example", "strategies/legging", "strategies/engine"}

// banned imports, each with what to use instead.
var banned = map[string]string{
	"time":        "data.Time from the event, data.Duration; a WakeAt command instead of waiting",
	"math/rand":   "nothing: a decision is not drawn; simulated randomness belongs to sim/",
	"math":        "math/bits and integers; statistics belong to sim/report",
	"os":          "a value in the configuration struct; cmd/ reads files and environment",
	"net":         "an event; sockets belong to live/",
	"context":     "nothing: Step returns at once",
	"sync":        "nothing: the loop is one goroutine",
	"unsafe":      "encoding/binary",
	"log":         "a Decision, which reports show",
	"runtime":     "nothing: the processor must not be seen",
	"database":    "an event; the ledger is a projection of the journal",
	"maps":        "a sorted slice: map order varies",
	"math/big":    "128-bit products by math/bits, with written bounds",
	"crypto/rand": "nothing: see math/rand",
}

var modeWords = []string{"backtest", "live", "paper", "dry", "sim", "simulated"}

func TestPurity(t *testing.T) {
	root := ".."
	fset := token.NewFileSet()
	std := importer.ForCompiler(fset, "source", nil)
	done := map[string]*types.Package{}
	for _, room := range pureRooms {
		dir := filepath.Join(root, room)
		var files []*ast.File
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
				f, err := parser.ParseFile(fset, filepath.Join(dir, e.Name()), nil, parser.ParseComments)
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
			}
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		conf := types.Config{Importer: roomImporter{done, std}}
		pkg, err := conf.Check("arbiter/"+room, fset, files, info)
		if err != nil {
			t.Fatal(err)
		}
		done["arbiter/"+room] = pkg
		for _, f := range files {
			for _, why := range impurities(f, info) {
				t.Errorf("%s: %s", fset.Position(why.pos), why.text)
			}
		}
	}
	// No pure room may be forgotten.
	for _, pattern := range []string{"strategies/*", "data/polymarket", "data/kalshi", "data/wire"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dirs {
			st, err := os.Stat(d)
			if err != nil {
				t.Fatal(err)
			}
			if rel, _ := filepath.Rel(root, d); st.IsDir() && filepath.Base(d) != "testdata" && !slices.Contains(pureRooms, filepath.ToSlash(rel)) {
				t.Errorf("%s is not in pureRooms: add it", rel)
			}
		}
	}
}

type roomImporter struct {
	rooms map[string]*types.Package
	std   types.Importer
}

func (r roomImporter) Import(path string) (*types.Package, error) {
	if p := r.rooms[path]; p != nil {
		return p, nil
	}
	if strings.HasPrefix(path, "arbiter/") {
		return nil, fmt.Errorf("a pure room imports %s, which is not one that comes before it in pureRooms", path)
	}
	return r.std.Import(path)
}

type impurity struct {
	pos  token.Pos
	text string
}

func impurities(f *ast.File, info *types.Info) []impurity {
	var out []impurity
	bad := func(pos token.Pos, format string, args ...any) {
		out = append(out, impurity{pos, fmt.Sprintf(format, args...)})
	}
	for _, im := range f.Imports {
		path := strings.Trim(im.Path.Value, `"`)
		for name, instead := range banned {
			if path == name || strings.HasPrefix(path, name+"/") && path != "math/bits" {
				bad(im.Pos(), "import of %s: use %s", path, instead)
			}
		}
		if strings.Contains(strings.Split(path, "/")[0], ".") {
			bad(im.Pos(), "import of %s: pure rooms use the standard library only", path)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			bad(n.Pos(), "a goroutine: the loop is one; concurrency belongs to live/, sim/sweep and the tape's decoder")
		case *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
			bad(n.Pos(), "a channel: hand events and commands over as values")
		case *ast.RangeStmt:
			if tv, ok := info.Types[n.X]; ok {
				if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
					bad(n.Pos(), "range over a map: its order varies; keep a slice beside it")
				}
			}
		case *ast.Ident:
			for _, w := range words(n.Name) {
				if slices.Contains(modeWords, w) {
					bad(n.Pos(), "identifier %s: decision code has no mode", n.Name)
				}
			}
		}
		if e, ok := n.(ast.Expr); ok {
			if tv, ok := info.Types[e]; ok && tv.Type != nil {
				if b, ok := tv.Type.Underlying().(*types.Basic); ok && b.Info()&(types.IsFloat|types.IsComplex) != 0 && b.Info()&types.IsUntyped == 0 {
					bad(e.Pos(), "a float: the compiler may fuse x*y+z differently on arm64; use integers and 128-bit products")
				}
			}
		}
		return true
	})
	return out
}

// words splits an identifier: LiveSince is live, since.
func words(name string) []string {
	var out []string
	start := 0
	rs := []rune(name)
	for i := 1; i <= len(rs); i++ {
		if i == len(rs) || unicode.IsUpper(rs[i]) && !unicode.IsUpper(rs[i-1]) || rs[i] == '_' {
			out = append(out, strings.ToLower(strings.Trim(string(rs[start:i]), "_")))
			start = i
		}
	}
	return out
}

// The check itself is checked: each kind of impurity is found in a planted file.
func TestPurity_FindsWhatIsPlanted(t *testing.T) {
	src := `package x
import "time"
func f(m map[int]int, c chan int) { go f(m, c); for range m {}; var x float64 = 1; _ = x; liveMode := 1; _ = liveMode; _ = time.Now }`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	if _, err := conf.Check("x", fset, []*ast.File{f}, info); err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(impurities(f, info))
	for _, want := range []string{"import of time", "goroutine", "channel", "range over a map", "a float", "no mode"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q was not found in %s", want, all)
		}
	}
}

// importTable is the architecture's: what of ours a room may import, and which third parties. A prefix ending in /
// covers what lies below it.
var importTable = map[string][]string{
	"data":               {},
	"data/wire":          {},
	"data/polymarket":    {"data", "data/wire"},
	"data/kalshi":        {"data", "data/wire"},
	"data/stream":        {"data", "data/wire", "data/polymarket", "data/kalshi"},
	"data/journal":       {"data"},
	"data/tape":          {"data", "data/journal", "github.com/apache/arrow/", "github.com/klauspost/compress/", "github.com/aws/aws-sdk-go-v2/"},
	"data/archive":       {"data", "data/wire", "data/polymarket", "data/kalshi", "data/tape", "github.com/apache/arrow/"},
	"data/pairs":         {"data", "github.com/goccy/go-yaml"},
	"strategies":         {"data"},
	"strategies/cross":   {"data", "strategies"},
	"strategies/parity":  {"data", "strategies"},
	"strategies/basket":  {"data", "strategies"},
	"strategies/example": {"data", "strategies"},
	"strategies/legging": {"data", "strategies"},
	"strategies/engine":  {"data", "strategies", "strategies/legging"},
	"sim":                {"data", "data/", "strategies", "strategies/engine", "sim/"},
	"sim/exchange":       {"data", "data/", "sim/"},
	"sim/market":         {"data", "data/", "sim/"},
	"sim/oracle":         {},
	"sim/report":         {"data", "data/", "strategies", "strategies/engine", "strategies/legging", "sim/", "gonum.org/v1/", "github.com/jedib0t/go-pretty/"},
	"sim/fakevenue":      {"data", "data/", "sim/", "github.com/gorilla/websocket"},
	"live/link":          {"data", "github.com/gorilla/websocket", "golang.org/x/time/"},
	"live/polymarket":    {"data", "data/", "live/link"},
	"live/kalshi":        {"data", "data/", "live/link"},
	"live":               {"data", "data/", "strategies/engine", "live/", "github.com/prometheus/", "github.com/HdrHistogram/"},
	"cmd/arbiter":        {"live", "live/", "testdata/captures", "data", "data/", "strategies", "strategies/", "sim", "sim/", "github.com/", "golang.org/x/term"},
	"testdata/captures":  {},
}

func TestImports_FollowTheTable(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	n := 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		n++
		room := strings.TrimPrefix(p.ImportPath, "arbiter/")
		may, ok := importTable[room]
		if !ok {
			t.Errorf("package %s has no row in the import table: add a noun and a line, or put it into a room", room)
			continue
		}
		for _, im := range p.Imports {
			ours, isOurs := strings.CutPrefix(im, "arbiter/")
			third := strings.Contains(strings.Split(im, "/")[0], ".")
			if !isOurs && !third {
				continue
			}
			if !slices.ContainsFunc(may, func(m string) bool { return m == ours || strings.HasSuffix(m, "/") && strings.HasPrefix(ours, m) }) {
				t.Errorf("%s imports %s: the table allows %v", room, im, may)
			}
		}
	}
	if n < 10 {
		t.Fatalf("only %d packages listed", n)
	}
}
