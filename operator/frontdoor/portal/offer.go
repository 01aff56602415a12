// Package portal decides what people see of templates and quotas, and what the forms that they
// fill in make. It reads no cluster, clock or request; the front door serves what it returns.
package portal

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Person is who is logged in.
type Person struct {
	// User as spec.user of their sessions spells it.
	User string
	// Groups that are known of them.
	Groups []string
}

// Offer is a template as people see it.
type Offer struct {
	// Name of the VDITemplate.
	Name string
	// Title is the name that people see.
	Title, Description, Category string
	// Icon says which picture there is, so that browsers can keep it; "" for none.
	Icon string
	// Deprecated says what to use instead; "" for nothing.
	Deprecated string
	// GPU says in words what draws and encodes.
	GPU string
	// Broken: nobody can start it until an administrator has changed it.
	Broken bool
}

// Shelf is the offers of a category; "" where none has any.
type Shelf struct {
	Category string
	Offers   []Offer
}

// others is the category of offers without one, where there are categories.
const others = "Others"

// OfferOf shows a template.
func OfferOf(t *vdi.VDITemplate) Offer {
	return Offer{
		Name: t.Name, Title: TitleOfTemplate(t), Description: t.Spec.Description, Category: t.Spec.Category,
		Icon: iconOf(t), Deprecated: t.Spec.Deprecated, GPU: gpuWords(t),
		Broken: IsBroken(t),
	}
}

// IsBroken reports whether nobody can start a template.
func IsBroken(t *vdi.VDITemplate) bool {
	return meta.IsStatusConditionFalse(t.Status.Conditions, vdi.ConditionValid)
}

// TitleOfTemplate is the name that people see.
func TitleOfTemplate(t *vdi.VDITemplate) string { return cmp.Or(t.Spec.DisplayName, t.Name) }

// May reports whether a person may use a template.
func (p Person) May(t *vdi.VDITemplate) bool {
	return t.DeletionTimestamp == nil && t.Spec.Access.Admits(p.User, p.Groups)
}

// Shelves are what a person may choose from, by category: those without one come last, and
// deprecated ones behind the others. Of the words of a search each must be found.
func Shelves(templates []vdi.VDITemplate, p Person, search string) []Shelf {
	var offers []Offer
	words := strings.Fields(strings.ToLower(search))
	for i := range templates {
		if t := &templates[i]; p.May(t) {
			if o := OfferOf(t); o.matches(words) {
				offers = append(offers, o)
			}
		}
	}
	slices.SortFunc(offers, compareOffers)
	var shelves []Shelf
	for _, o := range offers {
		if n := len(shelves); n == 0 || shelves[n-1].Category != o.Category {
			shelves = append(shelves, Shelf{Category: o.Category})
		}
		last := &shelves[len(shelves)-1]
		last.Offers = append(last.Offers, o)
	}
	if n := len(shelves); n > 1 && shelves[n-1].Category == "" {
		shelves[n-1].Category = others
	}
	return shelves
}

func compareOffers(a, b Offer) int {
	return cmp.Or(
		compareBool(a.Category == "", b.Category == ""), cmp.Compare(a.Category, b.Category),
		compareBool(a.Deprecated != "", b.Deprecated != ""), cmp.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)), cmp.Compare(a.Name, b.Name),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (o Offer) matches(words []string) bool {
	text := strings.ToLower(strings.Join([]string{o.Name, o.Title, o.Description, o.Category}, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

func gpuWords(t *vdi.VDITemplate) string {
	n := Sizes(t).GPU.Default
	if n == "0" {
		return "without a GPU"
	}
	words := n + " GPU slices"
	if n == "1" {
		words = "1 GPU slice"
	}
	switch t.Status.Encoder {
	case vdi.OutcomeNVENC:
		return words + ", video encoded by the GPU"
	case vdi.OutcomeSoftware:
		return words + ", video encoded by the CPU"
	}
	return words
}

// The kinds of pictures, as data URLs begin.
const (
	png = "data:image/png;base64,"
	svg = "data:image/svg+xml;base64,"
)

// maxIcon is the largest picture, in bytes.
const maxIcon = 64 << 10

// Icon is a template's picture and its media type.
func Icon(t *vdi.VDITemplate) (data []byte, mediaType string, err error) {
	for prefix, kind := range map[string]string{png: "image/png", svg: "image/svg+xml"} {
		encoded, is := strings.CutPrefix(t.Spec.Icon, prefix)
		if !is {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && len(data) > maxIcon {
			err = fmt.Errorf("it has %d bytes; at most %d are shown", len(data), maxIcon)
		}
		return data, kind, err
	}
	return nil, "", fmt.Errorf("it is no data URL of a PNG or SVG file")
}

// iconOf changes with the picture. Whether it is one shows when a browser asks for it.
func iconOf(t *vdi.VDITemplate) string {
	if !strings.HasPrefix(t.Spec.Icon, png) && !strings.HasPrefix(t.Spec.Icon, svg) {
		return ""
	}
	return string(t.UID) + "." + strconv.FormatInt(t.Generation, 10)
}
