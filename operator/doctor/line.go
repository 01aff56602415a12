// Package doctor decides what the facts about an installation mean, and puts it
// into a table for an administrator. It is pure: it reads no cluster, network,
// clock or file. kubectl vdi doctor and make validate bring the facts.
package doctor

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// State is what a check came to.
type State string

// Words of State.
const (
	Passed State = "passed"
	// Failed means that the installation does not keep this promise.
	Failed State = "FAILED"
	// NotJudged means that nobody knows: it must never be read as passed.
	NotJudged State = "not judged"
)

// Verdict is the outcome of one check.
type Verdict struct {
	State State `json:"state"`
	// Seen says what the verdict is based on.
	Seen string `json:"seen"`
	// Remedy says what to do about it, where this verdict knows more than its check.
	Remedy string `json:"remedy,omitempty"`
}

// Pass says what was seen to be as it should.
func Pass(format string, args ...any) Verdict {
	return Verdict{State: Passed, Seen: fmt.Sprintf(format, args...)}
}

// Fail says what was seen and should not be.
func Fail(format string, args ...any) Verdict {
	return Verdict{State: Failed, Seen: fmt.Sprintf(format, args...)}
}

// Unjudged says what stood in the way.
func Unjudged(format string, args ...any) Verdict {
	return Verdict{State: NotJudged, Seen: fmt.Sprintf(format, args...)}
}

// With adds a remedy of this verdict's own.
func (v Verdict) With(format string, args ...any) Verdict {
	v.Remedy = fmt.Sprintf(format, args...)
	return v
}

// Line is a row of the table.
type Line struct {
	Check   string `json:"check"`
	Verdict `json:",inline"`
}

// Of makes the row of a check, whose remedy counts where the verdict has none of
// its own. What passed needs none.
func Of(check, remedy string, v Verdict) Line {
	switch {
	case v.State == Passed:
		v.Remedy = ""
	case v.Remedy == "":
		v.Remedy = remedy
	}
	return Line{Check: check, Verdict: v}
}

// Count is how many lines have a state.
func Count(lines []Line, s State) (n int) {
	for _, l := range lines {
		if l.State == s {
			n++
		}
	}
	return n
}

// Red names the checks that failed.
func Red(lines []Line) (names []string) {
	for _, l := range lines {
		if l.State == Failed {
			names = append(names, l.Check)
		}
	}
	return names
}

// Widths at which the columns of words are broken, so that the table fits a terminal.
const (
	seenWidth   = 56
	remedyWidth = 56
)

// Table is the lines as an administrator reads them, with a sum below.
func Table(lines []Line) string {
	rows := [][]string{{"check", "result", "what was seen", "remedy"}}
	for _, l := range lines {
		rows = append(rows, broken(l)...)
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for i, row := range rows {
		writeRow(&out, row, widths)
		if i == 0 {
			writeRow(&out, rule(widths), widths)
		}
	}
	fmt.Fprintf(&out, "\n%d passed, %d failed, %d not judged\n", Count(lines, Passed), Count(lines, Failed), Count(lines, NotJudged))
	return out.String()
}

// broken spreads a line over as many rows as its longest cell needs.
func broken(l Line) (rows [][]string) {
	seen, remedy := wrap(l.Seen, seenWidth), wrap(l.Remedy, remedyWidth)
	for i := range max(len(seen), len(remedy), 1) {
		row := []string{"", "", at(seen, i), at(remedy, i)}
		if i == 0 {
			row[0], row[1] = l.Check, string(l.State)
		}
		rows = append(rows, row)
	}
	return rows
}

func at(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return ""
}

// wrap breaks text between words. A word that is too long stays whole: it may be
// a command or an address that somebody copies.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func rule(widths []int) (row []string) {
	for _, w := range widths {
		row = append(row, strings.Repeat("-", w))
	}
	return row
}

func writeRow(out *strings.Builder, row []string, widths []int) {
	last := len(row) - 1
	for last > 0 && row[last] == "" {
		last--
	}
	for i, cell := range row[:last+1] {
		out.WriteString(cell)
		if i < last {
			out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
	}
	out.WriteString("\n")
}

// List joins names for a sentence, in a fixed order.
func List(names []string) string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return strings.Join(sorted, ", ")
}
