# The steps of the Dockerfile, one by one, in a root file system of their own: this machine's, with a layer on top.
# $1 is an empty folder for mounts, $2 the build's context, $3 the commands of the build, $4 those of the image, and
# what follows is the command of the image. All of it goes away with the mount namespace of this shell.
set -eu
folder=$1 context=$2 build=$3 image=$4
shift 4

layer() { # a root file system
  mkdir "$folder/$1" "$folder/$1.upper" "$folder/$1.work"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/$1.upper,workdir=$folder/$1.work" "$folder/$1"
  mount -t proc proc "$folder/$1/proc"
  mount --rbind /dev "$folder/$1/dev"
  chmod o+x "$folder/$1/root" # a Python may be in the home of root
}

mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
layer build
mkdir "$folder/build/src"
cp -a "$context/." "$folder/build/src"
chroot "$folder/build" bash -euc "cd /src; $build"

layer image
mkdir -p "$folder/image/opt"
cp -a "$folder/build/opt/gateway" "$folder/image/opt"
chroot "$folder/image" bash -euc "$image"

# It runs read-only, with a volume, as the first process, without a capability, and without a network but loopback.
mount -t tmpfs -o mode=0700,uid=10001,gid=10001 tmpfs "$folder/image/data"
mount -o remount,ro "$folder/image"
exec unshare --pid --net --fork --kill-child bash -euc '
  root=$1; shift
  mount -t proc proc "$root/proc"
  ip link set lo up
  exec chroot "$root" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --inh-caps=-all \
    --bounding-set=-all env --chdir=/data "$@"
' image "$folder/image" "$@"
