#!/bin/sh
# The compiler, as cargo starts it (RUSTC_WRAPPER), for fuzz targets. cargo-fuzz asks for coverage of every crate, each in one piece: for
# the AWS SDK, of which nothing is run here, that takes 15 GB of memory. So the SDK is compiled as usual.
rustc=$1
shift
case " $* " in
*" --crate-name aws_sdk_"*)
  count=$#
  while [ "$count" -gt 0 ]; do
    case $1 in
    -Cpasses=sancov-module | -Cllvm-args=-sanitizer-* | -Ccodegen-units=1) ;;
    *) set -- "$@" "$1" ;;
    esac
    shift
    count=$((count - 1))
  done
  set -- "$@" -Cdebuginfo=0
  ;;
esac
exec "$rustc" "$@"
