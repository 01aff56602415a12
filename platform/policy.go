package platform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// ErrPolicy is the kind of every error about a template's policy.
var ErrPolicy = errors.New("invalid policy")

// policyFacts is how a streamer is told what may pass between a desktop and a
// visitor's computer: settings per word. A word that is missing is one it
// cannot keep to.
type policyFacts struct {
	clipboard         map[vdi.ClipboardPolicy][]Setting
	fileTransfer      map[vdi.FileTransferPolicy][]Setting
	audio, microphone map[bool][]Setting
	// unset is what holds where a template says nothing; a zero word leaves the
	// streamer as it is.
	unset vdi.TemplatePolicy
}

// policyOf is the policy's part of the streamer table; "" is Selkies. Of a Custom
// program nothing is known: it can keep to no word.
func policyOf(streamer vdi.Streamer) policyFacts {
	switch streamer {
	case vdi.StreamerSelkiesGStreamer:
		return gstreamerPolicy()
	case vdi.StreamerCustom:
		return policyFacts{}
	default:
		return selkiesPolicy()
	}
}

// selkiesPolicy is Selkies 2.x: selkies 2.1.0 on PyPI, selkies/settings.py,
// SETTING_DEFINITIONS. enable_clipboard is true, in, out or false, seen from the
// server; file_transfers is a comma list of upload and download, or none; a
// boolean with "|locked" cannot be changed in the page, and a microphone that is
// off but not locked can (selkies/websockets_mode.py: "not _mic_on and
// _mic_locked"). Documents that are printed leave as files, by
// printing_enabled. The page hides a clipboard that is off by itself, but not the
// part for files.
func selkiesPolicy() policyFacts {
	const (
		clipboard, files, printing = "SELKIES_ENABLE_CLIPBOARD", "SELKIES_FILE_TRANSFERS", "SELKIES_PRINTING_ENABLED"
		audio, microphone          = "SELKIES_AUDIO_ENABLED", "SELKIES_MICROPHONE_ENABLED"
		showFiles                  = "SELKIES_UI_SIDEBAR_SHOW_FILES"
		no                         = "false|locked"
	)
	return policyFacts{
		clipboard: map[vdi.ClipboardPolicy][]Setting{
			vdi.ClipboardBoth:        {{clipboard, "true"}},
			vdi.ClipboardToDesktop:   {{clipboard, "in"}},
			vdi.ClipboardFromDesktop: {{clipboard, "out"}},
			vdi.ClipboardNone:        {{clipboard, "false"}},
		},
		fileTransfer: map[vdi.FileTransferPolicy][]Setting{
			vdi.FileTransferBoth:     {{files, "upload,download"}},
			vdi.FileTransferUpload:   {{files, "upload"}, {printing, no}},
			vdi.FileTransferDownload: {{files, "download"}},
			vdi.FileTransferNone:     {{files, "none"}, {printing, no}, {showFiles, no}},
		},
		// Allowed is not locked: visitors may mute what they hear and say.
		audio:      map[bool][]Setting{true: {{audio, "true"}}, false: {{audio, no}}},
		microphone: map[bool][]Setting{true: {{microphone, "true"}}, false: {{microphone, no}}},
		unset: vdi.TemplatePolicy{
			Clipboard: vdi.ClipboardBoth, FileTransfer: vdi.FileTransferBoth, Audio: new(true), Microphone: new(false),
		},
	}
}

// gstreamerPolicy is Selkies 1.6: src/selkies_gstreamer/__main__.py, v1.6.2,
// knows --enable_clipboard (true, in, out, false; obeyed in webrtc_input.py) and
// neither files nor a microphone, and its sound cannot be switched off.
func gstreamerPolicy() policyFacts {
	const clipboard = "SELKIES_ENABLE_CLIPBOARD"
	return policyFacts{
		clipboard: map[vdi.ClipboardPolicy][]Setting{
			vdi.ClipboardBoth:        {{clipboard, "true"}},
			vdi.ClipboardToDesktop:   {{clipboard, "in"}},
			vdi.ClipboardFromDesktop: {{clipboard, "out"}},
			vdi.ClipboardNone:        {{clipboard, "false"}},
		},
		fileTransfer: map[vdi.FileTransferPolicy][]Setting{vdi.FileTransferNone: nil},
		audio:        map[bool][]Setting{true: nil},
		microphone:   map[bool][]Setting{false: nil},
		unset:        vdi.TemplatePolicy{Clipboard: vdi.ClipboardBoth},
	}
}

// PolicySetting is a setting that a field of spec.policy decides and nothing
// else may.
type PolicySetting struct {
	Setting
	// Field, such as "spec.policy.clipboard".
	Field string
}

// PolicySettings are a streamer's settings for a policy. Errors are ErrPolicy;
// each names the field and the remedy.
func PolicySettings(streamer vdi.Streamer, p vdi.TemplatePolicy) ([]PolicySetting, error) {
	facts := policyOf(streamer)
	p = withUnset(p, facts.unset)
	c := chosen{streamer: streamer}
	choose(&c, "clipboard", p.Clipboard, p.Clipboard != "", facts.clipboard)
	choose(&c, "fileTransfer", p.FileTransfer, p.FileTransfer != "", facts.fileTransfer)
	choose(&c, "audio", value(p.Audio), p.Audio != nil, facts.audio)
	choose(&c, "microphone", value(p.Microphone), p.Microphone != nil, facts.microphone)
	if value(p.Microphone) && !*orTrue(p.Audio) {
		c.problems = append(c.problems, "spec.policy.microphone needs spec.policy.audio; set audio to true or microphone to false")
	}
	if len(c.problems) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrPolicy, strings.Join(c.problems, "; "))
	}
	return c.settings, nil
}

// chosen gathers what the fields of a policy come to.
type chosen struct {
	streamer vdi.Streamer
	settings []PolicySetting
	problems []string
}

func choose[W comparable](c *chosen, field string, word W, isSet bool, can map[W][]Setting) {
	if !isSet {
		return
	}
	settings, known := can[word]
	if !known {
		c.problems = append(c.problems, cannot(c.streamer, field, word, slices.Collect(maps.Keys(can))))
	}
	for _, s := range settings {
		c.settings = append(c.settings, PolicySetting{s, "spec.policy." + field})
	}
}

func cannot[W comparable](streamer vdi.Streamer, field string, word W, words []W) string {
	remedy := "remove it"
	if len(words) > 0 {
		texts := make([]string, len(words))
		for i, w := range words {
			texts[i] = fmt.Sprint(w)
		}
		slices.Sort(texts)
		remedy = "use " + strings.Join(texts, ", ")
	}
	return fmt.Sprintf("spec.policy.%s: streamer %s cannot keep to %v; %s, or use streamer Selkies", field, streamer, word, remedy)
}

// FileTransferOf is the direction of files that the agent holds visitors to;
// Both where nothing is known about the streamer.
func FileTransferOf(streamer vdi.Streamer, p vdi.TemplatePolicy) vdi.FileTransferPolicy {
	if word := withUnset(p, policyOf(streamer).unset).FileTransfer; word != "" {
		return word
	}
	return vdi.FileTransferBoth
}

func withUnset(p, unset vdi.TemplatePolicy) vdi.TemplatePolicy {
	if p.Clipboard == "" {
		p.Clipboard = unset.Clipboard
	}
	if p.FileTransfer == "" {
		p.FileTransfer = unset.FileTransfer
	}
	if p.Audio == nil {
		p.Audio = unset.Audio
	}
	if p.Microphone == nil {
		p.Microphone = unset.Microphone
	}
	return p
}

func value(b *bool) bool { return b != nil && *b }
