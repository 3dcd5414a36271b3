# shellcheck shell=bash
begin access
# The AMI's default user, whom the key pair of the instance lets in.
if user=$(getent passwd 1000); then
    getent group docker || groupadd --system docker
    usermod -aG docker "${user%%:*}"
elif [ ! -s /root/.ssh/authorized_keys ]; then
    fail "nobody can log in by ssh: there is no user 1000, the AMI's default user, and root has no authorized_keys"
fi
