#!/bin/sh
# A newer Debian's Vulkan drivers and SPIR-V validator with all their libraries, unpacked into a folder outside the tree: for
# tools/compile_vendors.py, whose null devices of Debian 12's Mesa know no matrix units. Nothing is installed. About 75 MB to download.
#   sh tools/fetch_mesa.sh FOLDER [SUITE [MIRROR]]      default: trixie, http://deb.debian.org/debian
set -eu
[ $# -ge 1 ] || { sed -n '4s/# *//p' "$0"; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
suite=${2:-trixie}
mirror=${3:-http://deb.debian.org/debian}
state=$folder/.apt
mkdir -p "$state/lists/partial" "$state/archives/partial"
: > "$state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$state/sources.list"
apt()
{
    apt-get -qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state" -o Debug::NoLocking=1 "$@"
}
apt update
apt --yes --no-install-recommends --download-only install mesa-vulkan-drivers libvulkan1 spirv-tools
for package in "$state"/archives/*.deb; do
    dpkg -x "$package" "$folder"
done
rm -rf "$state"
ls "$folder"/usr/share/vulkan/icd.d/radeon_icd*.json
