package platform

import (
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // images of programs have none
)

// zones are those that were looked up, by name: it is done in each pass, and reads a database.
// There are some six hundred.
var zones sync.Map

// TimeZone is the time zone of an IANA name; "" is UTC. Its error says what helps.
func TimeZone(name string) (*time.Location, error) {
	if zone, found := zones.Load(name); found {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no time zone that is known here; use a name such as Europe/Berlin", name)
	case zone == time.Local: // whose?
		return nil, fmt.Errorf("%q is another time zone on each machine; use a name such as Europe/Berlin", name)
	}
	zones.Store(name, zone)
	return zone, nil
}
