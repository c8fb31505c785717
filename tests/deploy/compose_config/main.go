// Reads a Compose file as `docker compose config` does, by the same library, and prints what it makes of it as JSON:
//
//	compose_config FILE PROFILE
//
// Variables come from the environment. A file that Compose would refuse ends it with 1, and with Compose's own words.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:2], cli.WithOsEnv, cli.WithDefaultProfiles(os.Args[2]))
	if err == nil {
		err = show(options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func show(options *cli.ProjectOptions) error {
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	shown, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	fmt.Println(string(shown))
	return nil
}
