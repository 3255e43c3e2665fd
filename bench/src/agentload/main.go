//go:build linux

// Command agentload is the other side of agent.sh: many keys and agents, and
// addresses that change.
//
//	agentload hosts   -hosts N -dir DIR -url URL            keys of N hosts into DIR; stdout is what `godwit host import` reads
//	agentload updates -hosts N -dir DIR -url URL -pid PID   CPU time of the server per update, by door and number in flight
//	agentload crowd   -hosts N -dir DIR -url URL -pid PID   N agents, started and restarted at once
//	agentload moves   -dns ADDR PID...                      devices in the namespaces of these processes move; how long until DNS shows it
//
// Host i is host<i>.dyn.example.com, its key DIR/<i>.key, its device's addresses
// are 198.51.100.<10+i> and 2001:db8:7::<10+i> before it moves, and 100 more after.
// Results are lines of a label and key=value pairs.
package main

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/internal/agent"
	"godwit/internal/dnsname"
)

var (
	hosts  = flag.Int("hosts", 64, "number of hosts")
	dir    = flag.String("dir", ".", "`DIR` of the keys")
	states = flag.String("states", ".", "`DIR` of the agents' states")
	url    = flag.String("url", "", "the server's `URL`")
	pid    = flag.Int("pid", 0, "the server's process")
	dns    = flag.String("dns", "", "the server's DNS `address`")
	only   = flag.String("door", "", "only this `DOOR`: signed, seed, unchanged")
	rounds = flag.Int("rounds", 4, "rounds")
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: agentload hosts|updates|crowd|moves [flags]")
		os.Exit(2)
	}
	_ = flag.CommandLine.Parse(os.Args[2:]) // it exits
	err := fmt.Errorf("there is no command %q", os.Args[1])
	switch os.Args[1] {
	case "hosts":
		err = makeHosts()
	case "updates":
		err = updates()
	case "crowd":
		err = crowd()
	case "moves":
		err = moves(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agentload:", err)
		os.Exit(1)
	}
}

func hostName(i int) dnsname.Name { return dnsname.MustParse(fmt.Sprintf("host%d.dyn.example.com", i)) }

func keyPath(i int) string { return filepath.Join(*dir, strconv.Itoa(i)+".key") }

// secret is a host's, for the seed door.
func secret(i int) string { return fmt.Sprintf("bench-secret-%06d", i) }

func makeHosts() error {
	type object map[string]any
	list := []object{}
	for i := range *hosts {
		key, err := agent.NewKey(*url)
		if err != nil {
			return err
		}
		key.Host, key.Credential = hostName(i).String(), strings.ToLower(rand.Text()[:8])
		if err := key.Write(keyPath(i)); err != nil {
			return err
		}
		list = append(list, object{"name": key.Host, "ttl": 60, "addresses": "any", "credentials": []object{
			{"id": key.Credential, "kind": "ed25519", "verifier": key.Public()}, {"kind": "seed", "secret": secret(i)}}})
	}
	return json.NewEncoder(os.Stdout).Encode(object{"godwit_export": 1, "time": time.Now().UTC(), "hosts": list})
}

// cpu is the time that all threads of the server have spent on a CPU.
func cpu() time.Duration {
	var sum time.Duration
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", *pid)) // the pattern is right
	for _, f := range files {
		data, _ := os.ReadFile(f) // a thread may have gone
		text, _, _ := strings.Cut(string(data), " ")
		ns, _ := strconv.ParseInt(text, 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}

// quantile of a list that is not empty.
func quantile(list []time.Duration, p float64) time.Duration {
	slices.Sort(list)
	return list[int(p*float64(len(list)-1)+0.5)]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
