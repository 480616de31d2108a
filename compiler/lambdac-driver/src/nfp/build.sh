#!/bin/sh
# Builds the card's firmware from this folder with the vendor's SDK. Made by lambdac; not run with the SDK itself.
#
#   SDK=DIR       where the SDK is (default /opt/netronome/p4); nfp4build may also be on PATH
#   SKU, PLATFORM the card (default AMDA0096-0001:0, lithium: Agilio CX 2x10)
#   OUT=DIR       where the results go (default: out, beside this file)
#
# Exit status 3: something is missing, and is named.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
sdk=${SDK:-/opt/netronome/p4}
sku=${SKU:-AMDA0096-0001:0}
platform=${PLATFORM:-lithium}
out=${OUT:-$here/out}

missing() {
    echo "build.sh: missing: $*" >&2
    exit 3
}

for file in image.p4 image.p4cfg @SOURCES@; do
    [ -r "$here/$file" ] || missing "$here/$file, a part of the bundle"
done

if build=$(command -v nfp4build); then
    :
elif [ -x "$sdk/bin/nfp4build" ]; then
    build=$sdk/bin/nfp4build
else
    missing "nfp4build, of Netronome's P4/C SDK 6.1: neither on PATH nor in $sdk/bin (SDK=DIR says where it is)"
fi

@WARNING@mkdir -p "$out/pif"

# P4_16 by the SDK's p4c, with all of image.p4 as it stands.
# - reduced thread usage: four threads a core, as the memory of threads is planned.
# - no flow cache: it would replay a request's actions without the plugin.
# - the code stores of two cores are one only where an image needs it: it costs half of the cores.
# - only header operations that are used, valid bits implied, new headers not zeroed (the plugin fills all words).
# - PIF_PLUGIN_INIT: lambdas.c has both functions that run at the start.
exec "$build" \
    --output-nffw-filename "$out/lambdas.nffw" \
    --pif-output-dir "$out/pif" \
    --incl-p4-build "$here/image.p4" \
    --sandbox-c "$here/lambdas.c" \
    -I "$here" \
    --sku "$sku" \
    --platform "$platform" \
    --reduced-thread-usage \
    @STORE@ \
    --no-debug-info \
    --disable-component flowcache \
    --block-make \
    --nfp4c_p4_version 16 \
    --nfp4c_p4_compiler p4c-nfp \
    --nfirc_no_all_header_ops \
    --nfirc_implicit_header_valid \
    --nfirc_no_zero_new_headers \
    --nfirc_multicast_group_count 16 \
    --nfirc_multicast_group_size 16 \
    --define PIF_PLUGIN_INIT
