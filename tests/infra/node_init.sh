# First process of a node: builds its root file system, enters it, starts sshd, then reaps.
# $1: the node's folder on the host (etc/, users, mounts); $2: the node's name. DISK: a folder with
# the disk (upper/, work/, root/), else it gets a fresh one. FIRST: a script on the node to go on
# with, in place of sshd.
set -eu
folder=$1 name=$2

mount --make-rprivate /
if [ -z "${DISK:-}" ]; then
    DISK=$folder/fs
    mount -t tmpfs -o mode=755 tmpfs "$DISK"
    mkdir "$DISK/upper" "$DISK/work" "$DISK/root"
fi
root=$DISK/root
mount -t overlay -o "lowerdir=/,upperdir=$DISK/upper,workdir=$DISK/work" overlay "$root"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/sshd"

# A folder that other users may not pass gets an open, empty one in its place; then what the
# node must see below it, or on another file system, is bound there read-only.
while read -r kind path; do
    mkdir -p "$root$path"
    case $kind in
        open) mount -t tmpfs -o mode=755 tmpfs "$root$path" ;;
        bind) mount --rbind "$path" "$root$path"
              mount -o remount,bind,ro "$root$path" ;;
    esac
done < "$folder/mounts"

hostname "$name"
cp -a "$folder/etc/." "$root/etc/"
while IFS=: read -r user _ uid gid _ home _; do
    mkdir -p "$root$home"
    mount -t tmpfs -o "size=$HOME_SIZE,mode=700,uid=$uid,gid=$gid" tmpfs "$root$home"
    [ ! -s "$folder/authorized_keys" ] || {
        mkdir -m 700 "$root$home/.ssh"
        cp "$folder/authorized_keys" "$root$home/.ssh/"
        chown -R "$uid:$gid" "$root$home/.ssh"
    }
done < "$folder/users"

cd "$root"
mkdir .host
pivot_root . .host
cd /
umount -l /.host
rmdir /.host
[ -z "${FIRST:-}" ] || exec /bin/sh "$FIRST"
exec /bin/sh -c '/usr/sbin/sshd -E /var/log/sshd.log; while :; do sleep 1000 & wait $!; done'
