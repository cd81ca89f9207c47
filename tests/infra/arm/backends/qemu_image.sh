#!/bin/sh
# Makes the disk, kernel and initrd that QemuBackend boots: Debian 12 with cloud-init, which looks
# for Azure's datasource only. $1: the folder that gets base.qcow2, vmlinuz and initrd.img.
# Needs root, mmdebstrap, qemu-utils, e2fsprogs and Debian's mirror; about two minutes.
set -eu
target=$1
mkdir -p "$target"
work=$(mktemp -d "$target/build-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

packages=systemd-sysv,dbus,udev,linux-image-cloud-amd64,cloud-init,cloud-guest-utils
packages=$packages,openssh-server,iproute2,ifupdown,isc-dhcp-client,netbase,python3,python3-venv
packages=$packages,sudo,ca-certificates,curl,e2fsprogs,procps

# The settings go in before the packages, so that the initrd is small from the first time on.
mkdir -p "$work/skeleton/etc/initramfs-tools/conf.d" "$work/skeleton/etc/cloud/cloud.cfg.d"
cat > "$work/skeleton/etc/initramfs-tools/conf.d/small" <<END
MODULES=list
END
cat > "$work/modules" <<END
virtio_pci
virtio_blk
virtio_net
virtio_scsi
virtio_rng
ext4
sr_mod
isofs
udf
END
cat > "$work/skeleton/etc/cloud/cloud.cfg.d/90_datasource.cfg" <<END
datasource_list: [Azure]
datasource:
  Azure:
    apply_network_config: false
network: {config: disabled}
locale: false
package_update: false
cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname, users-groups, ssh]
cloud_config_modules: [runcmd]
cloud_final_modules: [write-files-deferred, scripts-user, final-message]
END

cat > "$work/customize.sh" <<'END'
set -eu
root=$1 modules=$2
echo "/dev/vda / ext4 defaults 0 1" > "$root/etc/fstab"
printf 'auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n' \
    > "$root/etc/network/interfaces"
echo localhost > "$root/etc/hostname"
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer ifupdown-pre.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cat "$modules" >> "$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u -k all
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root"/usr/share/locale/*
END

mmdebstrap --quiet --variant=minbase --include="$packages" \
    --setup-hook="cp -a '$work/skeleton/.' \"\$1\"" \
    --customize-hook="sh '$work/customize.sh' \"\$1\" '$work/modules'" \
    bookworm "$work/root"
cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
cp "$work"/root/boot/initrd.img-* "$work/initrd.img"
rm -rf "$work"/root/boot/*
truncate -s 3G "$work/root.img"
mkfs.ext4 -q -F -d "$work/root" "$work/root.img"
qemu-img convert -O qcow2 "$work/root.img" "$work/base.qcow2"
# The disk comes last: where it stands, the rest is complete.
mv "$work/vmlinuz" "$work/initrd.img" "$target"
mv "$work/base.qcow2" "$target"
