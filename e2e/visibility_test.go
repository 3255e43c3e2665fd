//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestVisible asks DNS after each acknowledgement: the next question must see
// the change, every time.
func TestVisible(t *testing.T) {
	const workers, perCaller = 4, 25
	rounds := 100 // 10,000 updates
	if testing.Short() {
		rounds = 10
	}
	d := serve(t, launch{plain: true, args: openLimits})
	hosts := testHosts("seen", workers*perCaller)
	mustAddHosts(t, d, hosts)

	var running sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		running.Go(func() {
			own := hosts[w*perCaller : (w+1)*perCaller]
			res, err := newResolver(d.ports.dns)
			if err != nil {
				errs[w] = err
				return
			}
			defer res.close()
			for n := range rounds {
				if errs[w] = visibleRound(d, res, own, sourceAddress(n*workers+w)); errs[w] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// visibleRound moves every host to one address and asks for each at once.
func visibleRound(d *daemon, res *resolver, hosts []testHost, source string) error {
	c := newCaller(source, d.url())
	defer c.close()
	for _, h := range hosts {
		got, err := c.update(h.Name, h.Secret)
		if err != nil {
			return err
		}
		if got.status != http.StatusCreated || got.body != hasBeenSet(h.Name, source) {
			return fmt.Errorf("update of %s: %d %s", h.Name, got.status, got.body)
		}
		shown, err := res.addresses(h.Name)
		if err != nil {
			return err
		}
		if shown != source {
			return fmt.Errorf("%s was set to %s, the next answer says %q", h.Name, source, shown)
		}
	}
	return nil
}
