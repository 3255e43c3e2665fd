//go:build linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCanaries uses secrets of all kinds in all ways, right and wrong, with the
// log at its most talkative, and then looks for them where they must not be: in
// the log, in the store's files, in the daemon's command line and environment,
// in what commands said beside the one showing of a new token, in the metrics.
func TestCanaries(t *testing.T) {
	dir := t.TempDir()
	adminToken := "canary-admin-6f1c0a77e2d94b5381"
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	adminPort := freePort(t)
	d := serve(t, launch{args: append([]string{
		"--log-level", "debug", "--admin", v4(adminPort), "--admin-token-file", write("admin-token", adminToken)}, openLimits...)})

	c := &canaries{t: t, d: d, where: map[string]string{}}
	c.add(adminToken, "the admin token")

	// Secrets that people bring, and that godwit makes.
	own := "canary-own-secret-93b1d7c2"
	c.add(own, "a secret of the user's own")
	ownFile := write("own", own)
	c.quiet("host", "add", "own."+zone, "--addresses", "any", "--secret-file", ownFile)
	token := c.token("host", "add", "made."+zone, "--addresses", "any", "--json")
	extra := c.token("host", "token", "add", "made."+zone, "--json")
	second := c.token("host", "rotate", "own."+zone, "--json")
	inURL := c.token("host", "token", "add", "made."+zone, "--host", "own."+zone, "--url-token", "--json")
	imported := testHosts("imported", 1)[0]
	c.add(imported.Secret, "an imported secret")
	c.quiet("host", "import", write("import.json", string(importFile([]testHost{imported}, nil))))

	// Updates, right and wrong, with the secret in every wrong place.
	for _, h := range []testHost{{"made." + zone, token}, {"made." + zone, extra}, {"own." + zone, own}, {"own." + zone, second}, {"made." + zone, inURL}, imported} {
		for _, source := range []string{"127.0.5.1", "127.0.5.1", "127.0.5.2"} {
			c.add(seedHash(source, h.Name, h.Secret), "the hash of "+h.Name)
			got, err := d.updateFrom(source, h.Name, h.Secret)
			c.said(fmt.Sprintf("an update of %s", h.Name), got.body+fmt.Sprint(got.header), err)
		}
		c.request("POST", "/", `{"execution_mode":"set","ddns_hostname":"`+h.Secret+`","validation_hash":"`+h.Secret+`"}`, "")
		c.request("POST", "/", h.Secret, "")
		c.request("GET", "/?token="+h.Secret, "", "")
		c.request("GET", "/nic/update?hostname="+h.Name+"&token="+h.Secret, "", "Basic "+base64.StdEncoding.EncodeToString([]byte(h.Name+":"+h.Secret)))
		c.request("PUT", "/v1/hosts/"+h.Name+"/addresses", "{}", "Bearer "+h.Secret)
		c.routers(h)
		c.request("GET", "/v1/admin/hosts", "", "Bearer "+h.Secret)
	}
	adminURL := "http://" + v4(adminPort)
	c.command(run("host", "list", "--target", adminURL, "--admin-token-file", filepath.Join(dir, "admin-token")), 0)
	c.command(run("host", "list", "--target", adminURL, "--admin-token-file", ownFile), 1)
	c.command(run("set", "--url", d.url(), "--host", "own."+zone, "--secret-file", ownFile), 1)
	c.command(run("set", "--url", d.url(), "--host", imported.Name, "--secret-file", write("imported", imported.Secret)), 0)
	c.quiet("host", "add", "clash."+zone, "--secret-file", write("same", imported.Secret)) // another host has it
	c.quiet("host", "show", "made."+zone)
	c.quiet("host", "history", "made."+zone)
	c.quiet("host", "list", "--json")
	c.quiet("host", "export")
	c.quiet("host", "set", "made."+zone, "--seed=off")

	metrics, err := http.NewRequest(http.MethodGet, adminURL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := http.DefaultClient.Do(metrics)
	if err != nil {
		t.Fatal(err)
	}
	scrape, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s, %v", response.Status, err)
	}
	c.look("the metrics", scrape)

	c.look("the log", []byte(d.output()))
	for _, name := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.pid()), name))
		if err != nil {
			t.Fatal(err)
		}
		c.look("/proc/PID/"+name, data)
	}
	c.lookInFiles(d.data)
	if code, err := d.stop(); err != nil || code != 0 {
		t.Errorf("SIGTERM ended it with code %d (%v)", code, err)
	}
	c.lookInFiles(d.data)
	c.look("the log after the end", []byte(d.output()))
	t.Logf("%d secrets looked for", len(c.where))
}

type canaries struct {
	t     *testing.T
	d     *daemon
	where map[string]string // secret to what it is
}

func (c *canaries) add(secret, what string) { c.where[secret] = what }

// token runs a command that shows a new token, and takes it.
func (c *canaries) token(args ...string) string {
	c.t.Helper()
	out := c.d.mustGodwit(c.t, args...)
	var created struct{ Token string }
	if err := json.Unmarshal([]byte(out), &created); err != nil || created.Token == "" {
		c.t.Fatalf("godwit %s: no token in %s (%v)", strings.Join(args, " "), out, err)
	}
	if strings.Count(out, created.Token) != 1 {
		c.t.Errorf("godwit %s shows the token more than once", strings.Join(args, " "))
	}
	c.look("what was said before a token was made", []byte(c.d.output()))
	c.add(created.Token, "the token of godwit "+strings.Join(args, " "))
	_, secret, _ := strings.Cut(created.Token, "-")
	c.add(secret, "the secret half of that token")
	return created.Token
}

// quiet runs a command that must not say a secret, whether it works or not.
func (c *canaries) quiet(args ...string) { c.command(c.d.godwit(args...), -1) }

func (c *canaries) command(r result, code int) {
	c.t.Helper()
	if code >= 0 && r.code != code {
		c.t.Errorf("a command ended with %d, not %d: %s%s", r.code, code, r.stdout, r.stderr)
	}
	c.look("what a command said", []byte(r.stdout+r.stderr))
}

func (c *canaries) request(method, path, body, authorization string) {
	c.t.Helper()
	req, err := http.NewRequest(method, strings.TrimSuffix(c.d.url(), "/")+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if method == http.MethodPost && !strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	caller := newCaller("127.0.5.9", c.d.url())
	defer caller.close()
	res, err := caller.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(res.Body)
	if res.StatusCode >= 500 {
		c.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, text.String())
	}
	c.said(method+" request", text.String()+fmt.Sprint(res.Header), err)
}

// routers sends a secret to the doors of routers, in each place that one may stand
// in and some where it may not.
func (c *canaries) routers(h testHost) {
	c.t.Helper()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(h.Name+":"+h.Secret))
	form := url.Values{"hostname": {h.Name}, "username": {h.Name}, "password": {h.Secret}}.Encode()
	c.request("GET", "/nic/update?hostname="+h.Name, "", basic)
	c.request("GET", "/nic/update?hostname="+h.Secret+"&myip="+h.Secret, "", basic)
	c.request("GET", "/v3/update?hostname="+h.Name+"&username="+h.Secret+"&password="+h.Secret, "", "")
	c.request("POST", "/nic/update", form, "")
	c.request("POST", "/update?token="+h.Secret, "domains="+h.Name+"&token="+h.Secret, "")
	c.request("GET", "/update?domains="+h.Name+"&token="+h.Secret+"&verbose=true", "", "")
	// A secret of one's own may be the first label of a host; what is like a token is not.
	if id, _, ok := strings.Cut(h.Secret, "-"); ok && len(id) == 8 {
		c.request("GET", "/update?domains="+h.Secret+"&token="+h.Name, "", "")
		c.request("GET", "/update/"+h.Secret+"/"+h.Name+"/"+h.Secret, "", "")
	}
	c.request("GET", "/update/"+h.Name+"/"+h.Secret, "", "")
	c.request("GET", "/update/"+h.Name+"/"+h.Secret+"/127.0.5.9", "", "")
	c.request("GET", "/api/update?zone="+h.Name+"&token="+h.Secret, "", "")
	c.request("GET", "/u/"+h.Secret, "", "")
	c.request("GET", "/u/"+h.Secret+"/?h="+h.Name+"&ip=127.0.5.9", "", "")
	c.request("GET", "/u/?h="+h.Secret, "", basic)
	c.request("GET", "/u/x/"+h.Secret, "", "")
	c.request("HEAD", "/u/"+h.Secret, "", "")
	c.request("PUT", "/update/"+h.Name+"/"+h.Secret, "", "")
}

func (c *canaries) said(what, text string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	c.look("the answer to "+what, []byte(text))
}

// look looks for every secret, as it is, in hex and in base64.
func (c *canaries) look(place string, data []byte) {
	c.t.Helper()
	for secret, what := range c.where {
		for _, form := range []string{
			secret, hex.EncodeToString([]byte(secret)), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
		} {
			if i := bytes.Index(data, []byte(form)); i >= 0 {
				c.t.Errorf("%s is in %s: %q", what, place, data[max(0, i-60):min(len(data), i+len(form)+20)])
			}
		}
	}
}

func (c *canaries) lookInFiles(dir string) {
	c.t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		c.look("the file "+entry.Name(), data)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}
