// Package images holds what the images of the local cluster are made of, so
// that the command that builds them works from any folder.
package images

import (
	"embed"
	"io/fs"
)

//go:embed all:desktop
var files embed.FS

// Desktop is the folder of the desktop image.
func Desktop() fs.FS {
	sub, err := fs.Sub(files, "desktop")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}
