#!/usr/bin/python3
"""evenkeel-certs SECONDS: fetches the engine's certificate, key and CA from SSM with this instance's own role."""
import hashlib, hmac, json, os, re, ssl, sys, time, urllib.error, urllib.parse, urllib.request

TLS = "/etc/evenkeel/tls"
IMDS = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254") + "/latest/"
imds = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Trouble(Exception):
    pass


def metadata(path, method="GET", **headers):
    request = urllib.request.Request(IMDS + path, None, headers, method=method)
    try:
        return imds.open(request, timeout=5).read().decode()
    except OSError as error:
        raise Trouble(f"instance metadata {path}: {error}")


def signed(url, region, body, keys):
    """Signature Version 4 ("Create a signed AWS API request", IAM User Guide)."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": urllib.parse.urlsplit(url).netloc,
        "x-amz-date": now,
        "x-amz-security-token": keys["Token"],
        "x-amz-target": "AmazonSSM.GetParameter",
    }
    sha = lambda text: hashlib.sha256(text.encode()).hexdigest()
    names = ";".join(headers)
    request = "\n".join(["POST", "/", "", *map(":".join, headers.items()), "", names, sha(body)])
    scope = f"{now[:8]}/{region}/ssm/aws4_request"
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for part in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha(request)}"]:
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{keys['AccessKeyId']}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return urllib.request.Request(url, body.encode(), headers)


def fetch(stack, region, parameter, endpoint):
    token = {"X-aws-ec2-metadata-token": metadata("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})}
    profile = "meta-data/iam/security-credentials/"
    try:
        role = metadata(profile, **token).split()[0]
        keys = json.loads(metadata(profile + role, **token))
    except Trouble as error:
        raise Trouble(f"{error}: was the instance launched with an instance profile?")
    url = endpoint or f"https://ssm.{region}." + metadata("meta-data/services/domain", **token).strip()
    body = json.dumps({"Name": parameter, "WithDecryption": True})
    try:
        answer = urllib.request.urlopen(signed(url.rstrip("/") + "/", region, body, keys), timeout=10)
        return json.load(answer)["Parameter"]["Value"]
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode("utf-8", "replace")
        hint = ""
        if "ParameterNotFound" in said:
            hint = f"; run `evenkeel certs --stack {stack} --put`"
        elif "AccessDenied" in said:
            hint = f"; role {role} needs ssm:GetParameter on it and kms:Decrypt on its key"
        raise Trouble(f"parameter {parameter} in {region}: {error}: {said}{hint}")


def install(bundle):
    """Certificate, key, CA, in that order, as PEM; put in place only if they fit together."""
    key = re.search(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", bundle, re.S)
    if not key:
        raise Trouble("the parameter's value has no private key; expected are certificate, key and CA as PEM")
    files = {"cert.pem": bundle[: key.start()], "key.pem": key[0], "ca.pem": bundle[key.end() :]}
    paths = [f"{TLS}/{name}" for name in files]
    os.makedirs(TLS, 0o700, exist_ok=True)
    os.umask(0o077)
    for path, text in zip(paths, files.values()):
        with open(path + ".new", "w") as file:
            file.write(text.strip() + "\n")
    try:
        context = ssl.create_default_context(cafile=paths[2] + ".new")
        context.load_cert_chain(paths[0] + ".new", paths[1] + ".new")
    except ssl.SSLError as error:
        raise Trouble(f"the parameter's certificate, key and CA do not fit together: {error}")
    for path in paths:
        os.replace(path + ".new", path)


with open("/etc/evenkeel/certs") as file:
    source = file.read().split("\n")[:4]
deadline = time.monotonic() + float(sys.argv[1])
while True:
    try:
        install(fetch(*source))
        break
    except (Trouble, OSError, LookupError, ValueError) as error:
        trouble = str(error) if isinstance(error, (Trouble, OSError)) else f"not an answer of SSM: {error!r}"
    if time.monotonic() > deadline:
        sys.exit(f"no certificate after {sys.argv[1]} s: {trouble}")
    time.sleep(5)
