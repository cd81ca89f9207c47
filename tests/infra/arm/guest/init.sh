# First process of a virtual machine, in place of systemd: cloud-init, then reaping until the
# machine is switched off. CLOUD_INIT is the command of the interpreter.
trap 'exit 0' TERM
mkdir -p /run/units /var/lib/units
$CLOUD_INIT &
while :; do
    wait $!
    sleep 1000 &
done
