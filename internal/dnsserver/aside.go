package dnsserver

import (
	"net/netip"
	"sync"
	"time"

	"godwit/internal/zone"
)

const (
	// asideWorkers is how many messages are at work at once for each processor: as
	// many as the core serves best together.
	asideWorkers = 64
	// asideQueue is how many more wait. One more is dropped by UDP, where clients send
	// again, and is SERVFAIL by TCP.
	asideQueue = 2048
)

// aside answers messages that may have to wait for the store, apart from the
// goroutines that answer ordinary queries. Its own come and go with the work.
type aside struct {
	server   *Server
	max      int
	udp, tcp *counts

	mu      sync.Mutex // guards following
	running int
	queue   []asked
	closed  bool
	done    sync.WaitGroup
	idle    [2][]*responder // for UDP and TCP
}

// asked is a message and who waits for its answer.
type asked struct {
	msg    []byte
	client netip.Addr
	tcp    bool
	came   time.Time
	send   func(reply []byte) // called once at most; an empty one is no answer
}

// add takes a message, which it keeps; false: there is no room.
func (a *aside) add(m asked) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return false
	case a.running < a.max:
		a.running++
		a.done.Add(1)
		go a.run(m)
	case len(a.queue) >= asideQueue:
		return false
	default:
		a.queue = append(a.queue, m)
	}
	return true
}

// run answers m and what waits.
func (a *aside) run(m asked) {
	defer a.done.Done()
	for {
		a.answer(m)
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.running--
			a.mu.Unlock()
			return
		}
		m, a.queue = a.queue[0], a.queue[1:]
		a.mu.Unlock()
	}
}

func (a *aside) answer(m asked) {
	now := a.server.config.Now()
	if now.Sub(m.came) > a.server.config.MessageTimeout && !m.tcp {
		a.udp.crowded.Add(1)
		return // nobody waits any more
	}
	r := a.responder(m.tcp)
	defer a.release(r)
	r.reply.client = m.client
	var reply []byte
	if isUpdate(m.msg) {
		reply = r.update(m.msg, make([]byte, 0, 512), now)
	} else {
		room := udpBuffer
		if m.tcp {
			room = maxTCP + zone.Slack
		}
		reply = r.respond(m.msg, make([]byte, 0, room), m.client, m.tcp, now)
	}
	m.send(reply)
	if m.tcp || len(reply) == 0 {
		return // by TCP its connection counts
	}
	r.counts.latency.Observe(a.server.config.Now().Sub(m.came), 1)
}

func (a *aside) responder(tcp bool) *responder {
	a.mu.Lock()
	defer a.mu.Unlock()
	idle, c := &a.idle[0], a.udp
	if tcp {
		idle, c = &a.idle[1], a.tcp
	}
	if n := len(*idle); n > 0 {
		r := (*idle)[n-1]
		*idle = (*idle)[:n-1]
		return r
	}
	r := a.server.responderWith(c)
	r.updater, r.aside = a.server.config.Updater, nil
	return r
}

func (a *aside) release(r *responder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.counts.tcp {
		a.idle[1] = append(a.idle[1], r)
	} else {
		a.idle[0] = append(a.idle[0], r)
	}
}

// close drops what waits and returns when what is at work is answered.
func (a *aside) close() {
	a.mu.Lock()
	a.closed, a.queue = true, nil
	a.mu.Unlock()
	a.done.Wait()
}
