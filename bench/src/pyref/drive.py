"""Runs the reference implementation's Lambda function, whose file index.py the user names.

drive.py INDEX_PY ENDPOINT N: times its handler against awsstub and prints the same keys as the timed Go program.
T0 is the monotonic time just before exec (see t0exec).
drive.py INDEX_PY [ENDPOINT]: the same handler behind the Lambda Runtime API (see lamdrive).

The only change to the function's world is that its boto3 clients get ENDPOINT, if there is one."""
import os, sys, time

now = lambda: time.clock_gettime(time.CLOCK_MONOTONIC)
t0 = float(os.environ.get("T0") or now())
index_py, endpoint = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
sys.path.insert(0, os.path.dirname(index_py))
sys.dont_write_bytecode = True

import boto3

if endpoint:
    client = boto3.client
    boto3.client = lambda name, **kw: client(name, endpoint_url=endpoint, **kw)
handler = getattr(__import__(os.path.basename(index_py).removesuffix(".py")), "lambda_handler")

import hashlib, json, resource


def serve():
    import http.client

    api = "/2018-06-01/runtime/invocation/"
    c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        c.request("GET", api + "next")
        r = c.getresponse()
        at, event = api + r.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(r.read())
        try:
            path, answer = "/response", handler(event, None)
        except Exception as e:  # Lambda's own runtime reports it, and the Function URL then says 502
            path, answer = "/error", {"errorType": type(e).__name__, "errorMessage": str(e)}
        c.request("POST", at + path, json.dumps(answer))
        c.getresponse().read()


if len(sys.argv) < 4:
    serve()

n = int(sys.argv[3])
ready, cpu_ready = now() - t0, time.process_time()
host, secret = "host.example.com.", "SHARED"


def one(i):
    ip = "198.51.%d.%d" % (i // 250 % 250, i % 250 + 1)
    body = {"execution_mode": "set", "ddns_hostname": host,
            "validation_hash": hashlib.sha256((ip + host + secret).encode()).hexdigest()}
    r = handler({"body": json.dumps(body), "requestContext": {"http": {"sourceIp": ip}}}, None)
    if r["statusCode"] != 201:
        sys.exit("drive.py: %s" % r)


one(0)
first = now() - t0
wall, cpu = now(), time.process_time()
for i in range(1, n + 1):
    one(i)
wall, cpu = now() - wall, time.process_time() - cpu
print("ready_ms=%.2f first_ms=%.2f cpu_ready_ms=%.2f warm_ms=%.3f warm_cpu_ms=%.3f rss_mib=%.1f" % (
    ready * 1e3, first * 1e3, cpu_ready * 1e3, wall / max(n, 1) * 1e3, cpu / max(n, 1) * 1e3,
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
