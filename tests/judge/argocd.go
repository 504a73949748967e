package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	patches "gopkg.in/evanphx/json-patch.v4"
	luajson "layeh.com/gopher-json"
)

// What Argo CD gives a script that somebody has configured: the basic functions, tables, and the time of require("os");
// no strings, no mathematics, no files. And one second.
var libraries = []struct {
	name string
	open lua.LGFunction
}{
	{lua.LoadLibName, lua.OpenPackage},
	{lua.BaseLibName, lua.OpenBase},
	{lua.TabLibName, lua.OpenTable},
	{lua.OsLibName, openTime},
}

const patience = time.Second

var healths = []string{"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}

// openTime lets require("os") find what Argo CD has of that library. There is no global os.
func openTime(state *lua.LState) int {
	lua.OpenOs(state)
	all := state.CheckTable(-1)
	kept := state.NewTable()
	for _, name := range []string{"time", "date"} {
		kept.RawSetString(name, all.RawGetString(name))
	}
	state.SetGlobal(lua.OsLibName, lua.LNil)
	state.SetField(state.GetField(state.GetGlobal("package"), "loaded"), lua.OsLibName, lua.LNil)
	state.PreloadModule(lua.OsLibName, func(state *lua.LState) int {
		state.Push(kept)
		return 1
	})
	return 0
}

// runScript runs a script on an object and returns the JSON of the table that it returns.
func runScript(object map[string]any, script string) ([]byte, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("the script returned no table but a %s", returned.Type())
	}
	return luajson.Encode(returned)
}

// judgeHealth runs a health.lua.
func judgeHealth(asked question) (answer, error) {
	text, err := runScript(asked.Object, asked.Script)
	if err != nil {
		return answer{}, err
	}
	var health struct{ Status, Message string }
	if err := json.Unmarshal(text, &health); err != nil {
		return answer{}, err
	}
	if !slices.Contains(healths, health.Status) {
		return answer{}, fmt.Errorf("Argo CD knows no health %q", health.Status)
	}
	return answer{Status: health.Status, Message: health.Message}, nil
}

// discoverActions runs a discovery.lua.
func discoverActions(asked question) (answer, error) {
	text, err := runScript(asked.Object, asked.Script)
	if err != nil {
		return answer{}, err
	}
	if string(text) == "[]" { // an empty table
		return answer{}, nil
	}
	var actions map[string]any
	if err := json.Unmarshal(text, &actions); err != nil {
		return answer{}, err
	}
	return answer{Actions: actions}, nil
}

// takeAction runs an action.lua, and returns the merge patch that Argo CD then sends.
func takeAction(asked question) (answer, error) {
	text, err := runScript(asked.Object, asked.Script)
	if err != nil {
		return answer{}, err
	}
	var changed map[string]any
	if err := json.Unmarshal(text, &changed); err != nil {
		return answer{}, fmt.Errorf("the script returned no object: %w", err)
	}
	before, err := json.Marshal(asked.Object)
	if err != nil {
		return answer{}, err
	}
	after, err := json.Marshal(withEmptyMaps(changed, asked.Object))
	if err != nil {
		return answer{}, err
	}
	text, err = patches.CreateMergePatch(before, after)
	if err != nil {
		return answer{}, err
	}
	var patch map[string]any
	if err := json.Unmarshal(text, &patch); err != nil {
		return answer{}, err
	}
	return answer{Patch: patch}, nil
}

// withEmptyMaps makes maps again of what were maps before: Lua has one kind of empty table, which becomes a list. Argo CD
// does so too, and thereby gives back its old content to a map that a script has emptied.
func withEmptyMaps(after, before any) any {
	switch now := after.(type) {
	case map[string]any:
		if then, same := before.(map[string]any); same {
			for key, value := range now {
				if old, known := then[key]; known {
					now[key] = withEmptyMaps(value, old)
				}
			}
		}
	case []any:
		switch then := before.(type) {
		case map[string]any:
			if len(now) == 0 {
				return then
			}
		case []any:
			for place, value := range now {
				if place < len(then) {
					now[place] = withEmptyMaps(value, then[place])
				}
			}
		}
	}
	return after
}
