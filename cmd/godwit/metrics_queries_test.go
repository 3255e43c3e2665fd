package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// samples are the time series of a scrape: their labels, by the metric's name.
type samples map[string][]string

var sampleLine = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? \S+$`)

func parseSamples(scrape string) samples {
	out := samples{}
	for _, m := range sampleLine.FindAllStringSubmatch(scrape, -1) {
		out[m[1]] = append(out[m[1]], ","+m[2])
	}
	return out
}

var (
	selector  = regexp.MustCompile(`\b([a-z_]+)\s*\{([^}]*)\}`)
	matcher   = regexp.MustCompile(`^([a-z]+)(=~?)"([^"]*)"$`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring) \(([^)]*)\)`)
	duration  = regexp.MustCompile(`\[[^\]]*\]`)
	word      = regexp.MustCompile(`[a-z_]+[a-z0-9_]*\s*\(?`)
	functions = []string{"rate", "sum", "min", "max", "time", "histogram_quantile"}
)

// check finds what an expression asks for that no scrape has: metrics, labels and
// values of labels. It knows as much of PromQL as our expressions need, and
// complains of the rest.
func (s samples) check(expr string) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	// Labels that Prometheus adds.
	added := func(label string) bool { return label == "job" || label == "instance" || label == "le" }
	var asked []string
	rest := selector.ReplaceAllStringFunc(expr, func(text string) string {
		m := selector.FindStringSubmatch(text)
		asked = append(asked, m[1])
		for _, one := range strings.Split(m[2], ",") {
			label := matcher.FindStringSubmatch(strings.TrimSpace(one))
			switch {
			case label == nil:
				complain("%s is not understood", one)
			case added(label[1]):
			case label[2] != "=" || !slices.ContainsFunc(s[m[1]], func(labels string) bool { return strings.Contains(labels, fmt.Sprintf(`,%s=%q`, label[1], label[3])) }):
				complain("no %s has %s", m[1], one)
			}
		}
		return " "
	})
	var groups []string
	rest = grouping.ReplaceAllStringFunc(rest, func(text string) string {
		groups = append(groups, strings.Split(grouping.FindStringSubmatch(text)[1], ", ")...)
		return " "
	})
	for _, found := range word.FindAllString(duration.ReplaceAllString(rest, " "), -1) {
		name, isCall := strings.CutSuffix(strings.TrimSpace(found), "(")
		switch name = strings.TrimSpace(name); {
		case isCall && !slices.Contains(functions, name):
			complain("function %s is not known", name)
		case !isCall && slices.Contains(functions, name): // as in sum by (…) (…)
		case !isCall:
			asked = append(asked, name)
		}
	}
	if len(asked) == 0 {
		complain("it asks for nothing")
	}
	for _, name := range asked {
		if name == "up" { // Prometheus' own
			continue
		}
		if len(s[name]) == 0 {
			complain("there is no %s", name)
		}
		for _, label := range groups {
			if !added(label) && !slices.ContainsFunc(s[name], func(labels string) bool { return strings.Contains(labels, ","+label+"=") }) {
				complain("%s has no label %s", name, label)
			}
		}
	}
	return problems
}

// TestDashboardAndRules: what the dashboard and the alerts ask for is there, and
// whatever is there is shown.
func TestDashboardAndRules(t *testing.T) {
	w := startWatched(t)
	w.use(t)
	have := parseSamples(w.scrape(t))
	for expr, want := range map[string]string{
		`rate(godwit_dns_querys_total[5m])`:                    "there is no godwit_dns_querys_total",
		`godwit_dns_drops_total{reason="none"} > 1`:            `no godwit_dns_drops_total has reason="none"`,
		`sum by (host) (rate(godwit_updates_total[5m]))`:       "godwit_updates_total has no label host",
		`average(godwit_store_hosts)`:                          "function average is not known",
		`godwit_updates_total{outcome!="changed"}`:             `outcome!="changed" is not understood`,
		`sum by (outcome) (rate(godwit_updates_total[5m]))`:    "",
		`up{job="godwit"} == 0`:                                "",
		`rate(godwit_dns_drops_total{reason="unsent"}[5m])>0 `: "",
	} {
		if got := strings.Join(have.check(expr), "; "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
	asked := map[string]bool{}
	for _, one := range append(dashboardQueries(t), ruleQueries(t)...) {
		for _, problem := range have.check(one.expr) {
			t.Errorf("%s: %s: %s", one.where, one.expr, problem)
		}
		for name := range have {
			if strings.Contains(one.expr, name) {
				asked[name] = true
			}
		}
	}
	for name := range have {
		family := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		shown := asked[name] || asked[family+"_bucket"] || name == "godwit_zone_serial"
		if strings.HasPrefix(name, "godwit_") && !shown {
			t.Errorf("nothing shows %s", name)
		}
	}
}

type queryOf struct{ where, expr string }

// dashboardQueries are those of the dashboard, which is held to what Grafana needs.
func dashboardQueries(t *testing.T) (queries []queryOf) {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash("../../packaging/examples/grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	type source struct{ Type, UID string }
	var dashboard struct {
		Title, UID    string
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			Datasource  source
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct {
				RefID, Expr string
				Datasource  source
			}
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || dashboard.UID == "" || dashboard.SchemaVersion < 36 {
		t.Errorf("the dashboard is %q, %q, version %d", dashboard.Title, dashboard.UID, dashboard.SchemaVersion)
	}
	var variables []string
	for _, v := range dashboard.Templating.List {
		variables = append(variables, v.Name+" "+v.Type)
		if metric, _, ok := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ","); ok && v.Type == "query" {
			name, _, _ := strings.Cut(metric, "{")
			queries = append(queries, queryOf{"variable " + v.Name, name})
		}
	}
	if got, want := strings.Join(variables, ", "), "datasource datasource, job query, instance query"; got != want {
		t.Errorf("variables %s, want %s", got, want)
	}
	seen := map[int]bool{}
	type cell struct{ x, y int }
	covered := map[cell]string{}
	for _, p := range dashboard.Panels {
		if seen[p.ID] {
			t.Errorf("panel %q: its ID %d is another's", p.Title, p.ID)
		}
		seen[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := cell{p.GridPos.X + x, p.GridPos.Y + y}
				if other, taken := covered[at]; taken || at.x >= 24 {
					t.Fatalf("panel %q lies over %q, or outside", p.Title, other)
				}
				covered[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Title == "" {
			t.Errorf("panel %d shows nothing", p.ID)
		}
		for _, q := range p.Targets {
			if q.Datasource != (source{"prometheus", "${datasource}"}) || q.RefID == "" {
				t.Errorf("panel %q: data source %+v", p.Title, q.Datasource)
			}
			if !strings.Contains(q.Expr, `job="$job",instance=~"$instance"`) {
				t.Errorf("panel %q shows all servers there are: %s", p.Title, q.Expr)
			}
			queries = append(queries, queryOf{"panel " + p.Title, q.Expr})
		}
	}
	return queries
}

// ruleQueries are those of the alerts, which are held to what Prometheus needs.
func ruleQueries(t *testing.T) (queries []queryOf) {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash("../../packaging/examples/prometheus.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr         string
				For                 string `yaml:"for"`
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			severity := r.Labels["severity"]
			if seen[r.Alert] || !regexp.MustCompile(`^Godwit[A-Za-z]+$`).MatchString(r.Alert) || !regexp.MustCompile(`^[1-9]\d*[mhd]$`).MatchString(r.For) ||
				!slices.Contains([]string{"critical", "warning", "info"}, severity) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %+v", r)
			}
			seen[r.Alert] = true
			queries = append(queries, queryOf{"alert " + r.Alert, r.Expr})
		}
	}
	return queries
}
