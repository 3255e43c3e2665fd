#!/usr/bin/env python3
"""gen.py N DIR: dyn.example.com with N hosts, and what to ask about it.

  zone            master file for the peers: host000000 ... with one A record each, TTL 60
  godwit-N.json   the same hosts as a document for `godwit host import`, 100,000 in each
  godwit-creds    a line "host user secret" for each host, for the load client
  tsig-N.json     the same with a TSIG key for each host, free to name any address
  tsig-creds      a line "host key secret" for each of those
  hit.txt         400,000 dnsperf queries for random hosts, all of which exist
  mix.txt         80 % such queries, 10 % missing names (NXDOMAIN), 10 % AAAA of hosts that have only A (NODATA)

The order is the same in every run (fixed seed)."""
import json, os, random, sys

n, out = int(sys.argv[1]), sys.argv[2]
os.makedirs(out, exist_ok=True)
width = 6  # host%06d: up to 1,000,000 names of one length
if not 0 < n <= 10**width:
    sys.exit("gen.py: 1 to 1,000,000 hosts")


def ip(i):
    i += 1
    return "10.%d.%d.%d" % (i >> 16 & 255, i >> 8 & 255, i & 255)


with open(out + "/zone", "w") as f:
    f.write("$ORIGIN dyn.example.com.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 900 604800 60\n@ NS ns1\nns1 A 127.0.0.1\n")
    for i in range(n):
        f.write("host%06d A %s\n" % (i, ip(i)))

for at in range(0, n, 100000):
    hosts = [{"name": "host%06d.dyn.example.com" % i, "ttl": 60, "addresses": "any", "a": [ip(i)], "generation": 1,
              "credentials": [{"kind": "seed", "secret": "bench-secret-%06d" % i}]} for i in range(at, min(n, at + 100000))]
    with open("%s/godwit-%d.json" % (out, at // 100000), "w") as f:
        json.dump({"godwit_export": 1, "time": "2026-01-01T00:00:00Z", "hosts": hosts}, f)
with open(out + "/godwit-creds", "w") as f:
    for i in range(n):
        f.write("host%06d.dyn.example.com host%06d.dyn.example.com bench-secret-%06d\n" % (i, i, i))

letters = "abcdefghijklmnopqrstuvwxyz234567"
secret = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def key(i):
    return "".join(letters[i >> 5 * k & 31] for k in range(8))


for at in range(0, n, 100000):
    hosts = [{"name": "host%06d.dyn.example.com" % i, "ttl": 60, "addresses": "any", "free": True, "a": [ip(i)], "generation": 1,
              "credentials": [{"kind": "tsig", "id": key(i), "algorithm": "hmac-sha256", "secret": secret}]} for i in range(at, min(n, at + 100000))]
    with open("%s/tsig-%d.json" % (out, at // 100000), "w") as f:
        json.dump({"godwit_export": 1, "time": "2026-01-01T00:00:00Z", "hosts": hosts}, f)
with open(out + "/tsig-creds", "w") as f:
    for i in range(n):
        f.write("host%06d.dyn.example.com %s.dyn.example.com %s\n" % (i, key(i), secret))

r = random.Random(7)
with open(out + "/hit.txt", "w") as f:
    for _ in range(400000):
        f.write("host%06d.dyn.example.com A\n" % r.randrange(n))
with open(out + "/mix.txt", "w") as f:
    for _ in range(400000):
        x = r.random()
        if x < .8:
            f.write("host%06d.dyn.example.com A\n" % r.randrange(n))
        elif x < .9:
            f.write("nope%06d.dyn.example.com A\n" % r.randrange(10**width))
        else:
            f.write("host%06d.dyn.example.com AAAA\n" % r.randrange(n))
