import json, os, sys
path, max_size, max_file, port, tls = sys.argv[1:]
try:
    with open(path) as file:
        there = json.load(file)
except FileNotFoundError:
    there = {}
except ValueError as error:
    sys.exit(f"{path} of the AMI is not JSON: {error}")
# The AMI's own settings stay, unless they are about the same thing.
if there.get("log-driver", "json-file") != "json-file":
    there.pop("log-opts", None)
there["log-driver"] = "json-file"
there["log-opts"] = {**there.get("log-opts", {}), "max-size": max_size, "max-file": max_file}
# Containers go on serving while dockerd restarts or is upgraded.
there["live-restore"] = True
there["hosts"] = ["unix:///var/run/docker.sock"]
if port:
    there["hosts"].append(f"tcp://0.0.0.0:{port}")
    there.update(tlsverify=True, tlscacert=f"{tls}/ca.pem", tlscert=f"{tls}/cert.pem", tlskey=f"{tls}/key.pem")
with open(path + ".new", "w") as file:
    json.dump(there, file, indent=2)
os.replace(path + ".new", path)
