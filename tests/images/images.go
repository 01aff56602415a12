// Package images holds what the images of the local cluster are made of, so
// that the command that builds them works from any folder.
package images

import (
	"embed"
	"io/fs"
)

//go:embed all:desktop all:relay
var files embed.FS

// Desktop is the folder of the desktop image.
func Desktop() fs.FS { return folder("desktop") }

// Relay is the folder of the relay's image.
func Relay() fs.FS { return folder("relay") }

func folder(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}
