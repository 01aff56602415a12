// Package attacks makes the attacks of the project's attack list. Its tests are
// named after the list's IDs; tests/relay and tests/frontdoor hold those that need a
// relay or the front door.
//
// What an API server has a say in is done twice, in two clusters that differ in
// nothing but the guards: in one, the kinds have no validation, no admission policy
// is installed, and the operator is built from sources whose guards return at once.
// There each attack must work. In the other, everything is as released, and each must
// fail, leaving no object behind.
package attacks
