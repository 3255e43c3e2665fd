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
	// asideQueue is how many more wait, by UDP and by TCP each: a flood by UDP, whose
	// sources may be forged, takes no room from TCP. One more is dropped by UDP, where
	// clients send again, and is SERVFAIL by TCP.
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
	queues  [2][]asked // by UDP and TCP
	closed  bool
	done    sync.WaitGroup
	idle    [2][]*responder // likewise
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
	queue := &a.queues[transport(m.tcp)]
	switch {
	case a.closed:
		return false
	case a.running < a.max:
		a.running++
		a.done.Add(1)
		go a.run(m)
	case len(*queue) >= asideQueue:
		return false
	default:
		*queue = append(*queue, m)
	}
	return true
}

// transport is the place of UDP or TCP in queues and idle.
func transport(tcp bool) int {
	if tcp {
		return 1
	}
	return 0
}

// run answers m and what waits, TCP first: a connection has one message waiting at
// most.
func (a *aside) run(m asked) {
	defer a.done.Done()
	for {
		a.answer(m)
		a.mu.Lock()
		queue := &a.queues[transport(true)]
		if len(*queue) == 0 {
			queue = &a.queues[transport(false)]
		}
		if len(*queue) == 0 {
			a.running--
			a.mu.Unlock()
			return
		}
		m, *queue = (*queue)[0], (*queue)[1:]
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
	idle, c := &a.idle[transport(tcp)], a.udp
	if tcp {
		c = a.tcp
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
	idle := &a.idle[transport(r.counts.tcp)]
	*idle = append(*idle, r)
}

// close drops what waits and returns when what is at work is answered.
func (a *aside) close() {
	a.mu.Lock()
	a.closed, a.queues = true, [2][]asked{}
	a.mu.Unlock()
	a.done.Wait()
}
