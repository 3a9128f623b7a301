#!/bin/sh
# Makes the pictures of the README from the narrated clip, on the simulated providers: examples/pictures.sh [FOLDER]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/docs/images}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"
cd "$work"
polyroute pipeline run "$root/examples/narrated-clip.yaml" --config "$root/examples/narrated-clip.config.yaml" --sandbox \
  --input topic="The lighthouse at the edge of the map" --output clip.mp4 --artifacts parts
still="-frames:v 1 -update 1"
ffmpeg -v error -y -i clip.mp4 -vf "fps=1/2,scale=320:-1,tile=4x2:padding=4:color=white,palettegen=stats_mode=single" $still sheet-colours.png
ffmpeg -v error -y -i clip.mp4 -i sheet-colours.png \
  -lavfi "[0:v]fps=1/2,scale=320:-1,tile=4x2:padding=4:color=white[sheet];[sheet][1:v]paletteuse=dither=none" $still "$target/narrated-clip.png"
ls -l "$target"
