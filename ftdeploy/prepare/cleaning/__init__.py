"""The rules of `data.clean`, one module a group; `ftdeploy.prepare.clean` puts them in order."""
