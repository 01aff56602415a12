package charts

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

const (
	svgSpace = "http://www.w3.org/2000/svg"
	// maxIcon is the largest icon of ours in bytes: templates stay files that one can read.
	maxIcon = 600
)

// What our icons are drawn with: nothing that runs, links, loads or is read by people.
var (
	iconElements   = []string{"svg", "g", "path", "rect", "circle", "ellipse"}
	iconAttributes = []string{
		"viewBox", "d", "x", "y", "width", "height", "rx", "ry", "cx", "cy", "r",
		"fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin",
	}
)

// iconFault says what is wrong with an icon; nil: nothing.
func iconFault(icon []byte) error {
	decoder, depth, roots := xml.NewDecoder(bytes.NewReader(icon)), 0, 0
	for {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF) && roots == 1:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%d elements that hold all others, not one", roots)
		case err != nil:
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			if err := elementFault(token, depth == 0); err != nil {
				return err
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if len(bytes.TrimSpace(token)) > 0 {
				return fmt.Errorf("text %q", token)
			}
		default: // comments, instructions and document types
			return fmt.Errorf("%T", token)
		}
	}
}

func elementFault(element xml.StartElement, isRoot bool) error {
	name, sized := element.Name.Local, false
	if element.Name.Space != svgSpace || !slices.Contains(iconElements, name) || isRoot != (name == "svg") {
		return fmt.Errorf("element %s of %q", name, element.Name.Space)
	}
	for _, attribute := range element.Attr {
		key := attribute.Name.Local
		if key == "xmlns" && attribute.Name.Space == "" && isRoot {
			continue
		}
		if attribute.Name.Space != "" || !slices.Contains(iconAttributes, key) || strings.ContainsAny(attribute.Value, ":()&\\") {
			return fmt.Errorf("attribute %s=%q of %s", key, attribute.Value, name)
		}
		sized = sized || key == "viewBox"
	}
	if isRoot && !sized {
		return errors.New("no viewBox")
	}
	return nil
}

// TestTemplatesHaveCategoriesAndIcons: each is shown with a picture of ours, which is a file that
// one can look at and draw anew, and is found among others of its kind.
func TestTemplatesHaveCategoriesAndIcons(t *testing.T) {
	t.Parallel()
	drawn := glob(t, "values", "templates", "icons", "*.svg")
	categories := map[string]bool{}
	for _, file := range glob(t, "values", "templates", "*.yaml") {
		template := readYAML[vdi.VDITemplate](t, file)
		require.NotEmpty(t, template.Spec.Category, file)
		categories[template.Spec.Category] = true
		source := inRepository("values", "templates", "icons", template.Name+".svg")
		require.Contains(t, drawn, source, file)
		drawn = slices.DeleteFunc(drawn, func(other string) bool { return other == source })
		icon, err := os.ReadFile(source)
		require.NoError(t, err)
		assert.NoError(t, iconFault(icon), source)
		assert.LessOrEqual(t, len(icon), maxIcon, source)
		assert.Equal(t, "data:image/svg+xml;base64,"+base64.StdEncoding.EncodeToString(icon), template.Spec.Icon,
			"%s is not of %s: base64 -w0 %s", file, source, source)
	}
	assert.Empty(t, drawn, "icons of no template")
	assert.LessOrEqual(t, len(categories), 6, "a category of its own for each sorts nothing: %v", categories)
}

// TestIconFaults: what an icon could do harm or look broken with is seen.
func TestIconFaults(t *testing.T) {
	t.Parallel()
	const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">`
	require.NoError(t, iconFault([]byte(open+`<g fill="none"><path d="M1 1h2"/></g></svg>`)))
	for what, icon := range map[string]string{
		"element script":             open + `<script>alert(1)</script></svg>`,
		"element foreignObject":      open + `<foreignObject/></svg>`,
		"element style":              open + `<style>*{}</style></svg>`,
		"element image":              open + `<image href="https://example.com/a.png"/></svg>`,
		"element a":                  open + `<a href="https://example.com"/></svg>`,
		"element text":               open + `<text>Desktop</text></svg>`,
		"element div":                open + `<div xmlns="http://www.w3.org/1999/xhtml"/></svg>`,
		"element html":               `<html/>`,
		"attribute onload":           `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" onload="alert(1)"/>`,
		"attribute style":            open + `<g style="fill:url(https://example.com)"/></svg>`,
		"attribute fill":             open + `<g fill="url(https://example.com/a)"/></svg>`,
		"attribute href":             open + `<path d="M0 0" xlink:href="#a"/></svg>`,
		"text":                       open + `Desktop</svg>`,
		"xml.Comment":                open + `<!-- a --></svg>`,
		"xml.Directive":              `<!DOCTYPE svg [<!ENTITY a "b">]>` + open + `</svg>`,
		"xml.ProcInst":               `<?xml-stylesheet href="a.css"?>` + open + `</svg>`,
		"no viewBox":                 `<svg xmlns="http://www.w3.org/2000/svg"/>`,
		"0 elements that hold":       ``,
		"2 elements that hold":       open + `</svg>` + open + `</svg>`,
		"XML syntax error on line 1": open,
	} {
		assert.ErrorContains(t, iconFault([]byte(icon)), what)
	}
}
