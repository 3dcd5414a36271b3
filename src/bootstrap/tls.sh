# shellcheck shell=bash disable=SC2154
begin certificates
install_file /usr/local/sbin/evenkeel-certs <<'END'
#@ certs.py
END
chmod 755 /usr/local/sbin/evenkeel-certs
printf '%s\n' "$stack" "$region" "$parameter" "$ssm_endpoint" | install_file /etc/evenkeel/certs
# The profile of a new instance, and the rights of a new role, take a while to be known everywhere.
/usr/local/sbin/evenkeel-certs 180
