package httpserver_test

import (
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
)

// TestUnknownTakesAsLong: how long a wrong proof takes does not tell whether
// there is such a host. Both are asked in a random order, 100,000 times each,
// and Welch's t must not tell the two samples apart (trust: below 4.5, which
// chance exceeds once in 150,000 runs).
func TestUnknownTakesAsLong(t *testing.T) {
	if os.Getenv("GODWIT_LONG") == "" {
		t.Skip("it measures time, on a machine that must be quiet: GODWIT_LONG=1 runs it")
	}
	const n = 100_000
	r := newRig(t)
	r.add(host1, secret, ddns.Settings{})
	handler := r.server.Public()
	names := [2]string{host1, strings.Replace(host1, "1", "2", 1)}
	var bodies [2]string
	for i, name := range names {
		bodies[i] = setBody(name, strings.Repeat("0123456789abcdef", 4))
	}
	var samples [2][]float64
	for i := range 2 * n {
		which := rand.IntN(2)
		req := httptest.NewRequest("POST", "/", strings.NewReader(bodies[which]))
		req.RemoteAddr = home + ":40000"
		w := httptest.NewRecorder()
		start := time.Now()
		handler.ServeHTTP(w, req)
		took := time.Since(start)
		if w.Code != 401 {
			t.Fatalf("%s: %d %s", names[which], w.Code, w.Body)
		}
		if i >= n/10 { // after warming up
			samples[which] = append(samples[which], float64(took))
		}
	}
	// What a collector or a neighbour took longest from hides what is sought.
	all := slices.Concat(samples[0], samples[1])
	slices.Sort(all)
	for _, share := range []float64{1, 0.99, 0.9, 0.5} {
		limit := all[int(share*float64(len(all)-1))]
		a, b := upTo(samples[0], limit), upTo(samples[1], limit)
		score := welch(a, b)
		t.Logf("fastest %3.0f %%: known %.0f ns, unknown %.0f ns, t = %.2f", share*100, mean(a), mean(b), score)
		if math.Abs(score) > 4.5 {
			t.Errorf("the fastest %.0f %% tell a known host from an unknown one: t = %.2f", share*100, score)
		}
	}
}

func upTo(list []float64, limit float64) []float64 {
	return slices.DeleteFunc(slices.Clone(list), func(x float64) bool { return x > limit })
}

func mean(list []float64) float64 {
	sum := 0.0
	for _, x := range list {
		sum += x
	}
	return sum / float64(len(list))
}

// welch is Welch's t of two samples.
func welch(a, b []float64) float64 {
	spread := func(list []float64) float64 {
		m, sum := mean(list), 0.0
		for _, x := range list {
			sum += (x - m) * (x - m)
		}
		n := float64(len(list))
		return sum / (n - 1) / n
	}
	return (mean(a) - mean(b)) / math.Sqrt(spread(a)+spread(b))
}
