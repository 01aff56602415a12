package platform

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Rewriter returns what moves an image to the site's registries: it replaces the
// longest prefix in Rewrite. Other images stay as they are.
func (i Images) Rewriter() func(image string) string {
	longestFirst := slices.SortedFunc(maps.Keys(i.Rewrite), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	return func(image string) string {
		for _, name := range []string{image, FullImageName(image)} {
			for _, prefix := range longestFirst {
				if rest, found := cutImagePrefix(name, prefix); found {
					return i.Rewrite[prefix] + rest
				}
			}
		}
		return image
	}
}

// IsRewritten says whether an image lies in one of the site's registries already.
func (i Images) IsRewritten(image string) bool {
	for _, to := range i.Rewrite {
		if _, found := cutImagePrefix(image, to); found {
			return true
		}
	}
	return false
}

// cutImagePrefix cuts a prefix that ends where a part of the image's name ends:
// "ghcr.io" is no prefix of "ghcr.io.example.com/x".
func cutImagePrefix(image, prefix string) (rest string, found bool) {
	rest, found = strings.CutPrefix(image, prefix)
	return rest, found && (rest == "" || strings.ContainsRune("/:@", rune(rest[0])))
}

// FullImageName spells out the registry that container runtimes assume for short
// names (distribution/reference, ParseNormalizedNamed).
func FullImageName(image string) string {
	registry, _, hasPath := strings.Cut(image, "/")
	switch {
	case image == "" || hasPath && (strings.ContainsAny(registry, ".:") || registry == "localhost"):
		return image
	case hasPath:
		return "docker.io/" + image
	}
	return "docker.io/library/" + image
}
