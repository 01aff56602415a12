// Package images holds what the images of the local cluster and of a release are made of, so
// that the command that builds them works from any folder.
//
// A desktop image is a recipe: the folder desktop, with what the recipe's own folder adds or
// replaces. Of a folder's files packages.txt, requirements.txt and stand-in.control say what
// is installed; the other ones at its top are programs and go to /usr/local/bin, those below
// go to the same place in the image.
package images

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

//go:embed all:desktop all:recipes all:relay
var files embed.FS

// Plain is the recipe that adds nothing.
const Plain = "plain"

// Desktop is the folder that all desktop images begin with.
func Desktop() fs.FS { return folder("desktop") }

// Relay is the folder of the relay's image.
func Relay() fs.FS { return folder("relay") }

// Recipes are the names of the desktop images, in order.
func Recipes() []string {
	entries, err := fs.ReadDir(files, "recipes")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	names := []string{Plain}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	slices.Sort(names)
	return names
}

// ImageOf is a recipe's image, without registry and tag.
func ImageOf(recipe string) string {
	if recipe == Plain {
		return "desktop"
	}
	return "desktop-" + recipe
}

// Recipe is what a desktop image is made of, by name of the file.
func Recipe(name string) (map[string][]byte, error) {
	if !slices.Contains(Recipes(), name) {
		return nil, fmt.Errorf("there is no recipe %q; there are %s", name, strings.Join(Recipes(), ", "))
	}
	all, err := contents(Desktop())
	if err != nil || name == Plain {
		return all, err
	}
	own, err := contents(folder("recipes/" + name))
	if err != nil {
		return nil, err
	}
	packages := slices.Concat(all[Packages], own[Packages])
	maps.Copy(all, own)
	all[Packages] = packages
	return all, nil
}

// Files of a recipe that say what is installed.
const (
	Packages     = "packages.txt"     // of Debian; a recipe's come beside those of the desktop
	Requirements = "requirements.txt" // of Python
	StandIn      = "stand-in.control" // a package that keeps others out
)

func contents(folder fs.FS) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		all[name], err = fs.ReadFile(folder, name)
		return err
	})
	return all, err
}

func folder(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}
