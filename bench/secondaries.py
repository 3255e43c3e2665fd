"""secondaries.py prepare DIR DOCUMENT HOSTS | measure DIR UPDATES GAP_MS: the parts of secondaries.sh that are not shell."""
import hashlib, http.client, json, os, random, re, socket, struct, sys, threading, time

ZONE = "dyn.example.com"
SECRET = "a secret of the bench %06d"
SECONDARIES = {"knot": "192.0.2.2", "bind": "192.0.2.3", "nsd": "192.0.2.4", "pdns": "192.0.2.5"}
EXTRA = {  # what only this bench needs beside the document
    "nsd.conf": 'server:\n username: ""\n pidfile: "/var/lib/nsd/pid"\n xfrdfile: "/var/lib/nsd/xfrd"\n zonelistfile: "/var/lib/nsd/list"\n xfrdir: "/var/lib/nsd"\n'
                " server-count: 1\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n",
    "named.conf": "controls {};\n",
}


def prepare(folder, document, hosts):
    for name in ("knot", "nsd", "powerdns", "bind"):
        os.mkdir(f"{folder}/{name}")
    key = open(folder + "/transfer.key").read()
    secret = re.search('secret "(.*)"', key)[1]
    for name, text in re.findall(r"(?ms)^```\w+ (\S+)\n(.*?)^```$", open(document).read()):
        text += EXTRA.get(name, "")
        text = re.sub("/etc/(bind|powerdns|godwit)", folder, text)
        # A folder for each, since they name their files alike.
        text = re.sub("/var/lib/(knot|nsd|powerdns)|/var/cache/(bind)|/run/(knot)", lambda m: f"{folder}/{m[1] or m[2] or m[3]}", text)
        with open(f"{folder}/{name}", "w") as f:
            f.write(text.replace("SECRET", secret))
    rows = [{"name": f"host{i:06}.{ZONE}", "ttl": 60, "addresses": "any", "credentials": [{"kind": "seed", "secret": SECRET % i}]} for i in range(hosts)]
    with open(folder + "/hosts.json", "w") as f:
        json.dump({"godwit_export": 1, "hosts": rows}, f)


def question(name, number):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    return struct.pack(">6H", number, 0, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def address(server, name, patience):
    """The A record that a server shows, None if there is none."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(patience)
    try:
        s.sendto(question(name, random.getrandbits(16)), (server, 53))
        reply = s.recv(512)
        at = len(question(name, 0)) + 12  # the answer's owner is a pointer
        return socket.inet_ntoa(reply[at : at + 4]) if reply[7] else None
    except OSError:
        return None
    finally:
        s.close()


def update(i, source):
    """One update of the seed's door, from an address of its own."""
    name = f"host{i:06}.{ZONE}"
    c = http.client.HTTPConnection("127.0.0.1", 8053, source_address=(source, 0))
    digest = hashlib.sha256((source + name + SECRET % i).encode()).hexdigest()
    c.request("POST", "/", json.dumps({"execution_mode": "set", "ddns_hostname": name, "validation_hash": digest}))
    r = c.getresponse()
    body = r.read()
    c.close()
    if r.status not in (200, 201):
        sys.exit(f"update: {r.status} {body}")


def follow(server, name, want, since, lags):
    while time.monotonic() - since < 30:
        if address(server, name, 1) == want:
            lags.append((time.monotonic() - since) * 1000)
            return
        time.sleep(0.001)
    lags.append(float("inf"))


def measure(folder, updates, gap):
    hosts = len(json.load(open(folder + "/hosts.json"))["hosts"])
    update(0, "127.1.0.1")
    for name, server in SECONDARIES.items():
        deadline = time.monotonic() + 60
        while address(server, f"host000000.{ZONE}", 1) != "127.1.0.1":
            if time.monotonic() > deadline:
                sys.exit(f"{name} does not follow; see its log")
            time.sleep(0.1)
    lags = {name: [] for name in SECONDARIES}
    threads = []
    for n in range(1, updates + 1):
        i, source = n % hosts, f"127.1.{n // 250 + 1}.{n % 250 + 1}"
        update(i, source)
        now = time.monotonic()
        for name, server in SECONDARIES.items():
            t = threading.Thread(target=follow, args=(server, f"host{i:06}.{ZONE}", source, now, lags[name]))
            t.start()
            threads.append(t)
        time.sleep(gap / 1000 * random.uniform(0.5, 1.5))
    for t in threads:
        t.join()
    print(f"{updates} updates of {hosts} hosts, one in {gap} ms: ms from acknowledgement until the secondary shows it")
    for name, all_ in lags.items():
        all_.sort()
        at = lambda q: all_[min(len(all_) - 1, int(q * len(all_)))]
        print(f"{name:5} p50 {at(.5):7.1f}  p90 {at(.9):7.1f}  p99 {at(.99):7.1f}  max {all_[-1]:7.1f}")


if sys.argv[1] == "prepare":
    prepare(sys.argv[2], sys.argv[3], int(sys.argv[4]))
else:
    measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
