package platform

import (
	"fmt"
	"time"
	_ "time/tzdata" // images of programs have none
)

// TimeZone is the time zone of an IANA name; "" is UTC. Its error says what helps.
func TimeZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no time zone that is known here; use a name such as Europe/Berlin", name)
	case zone == time.Local: // whose?
		return nil, fmt.Errorf("%q is another time zone on each machine; use a name such as Europe/Berlin", name)
	}
	return zone, nil
}
