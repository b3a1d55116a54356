// Starts `netc lsp` for .net files, and runs netc's commands in a terminal. The server does everything else.
const { commands, window, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function activate(context) {
  context.subscriptions.push(
    workspace.onDidGrantWorkspaceTrust(() => restart(context)),
    commands.registerCommand("netc.run", run),
    commands.registerCommand("netc.check", () => runHere("check")),
    commands.registerCommand("netc.train", () => runHere("train")),
  );
  await start(context);
}

async function start(context) {
  const [command, ...args] = workspace.getConfiguration("netc").get("command");
  // in a folder of the extension's own, lest a file called `netc` in the workspace is what starts
  const server = { command, args, options: { cwd: context.extensionPath } };
  client = new LanguageClient("netc", server, {
    documentSelector: [{ language: "net" }],
    initializationOptions: { isTrusted: workspace.isTrusted, commands: ["netc.run"] },
  });
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(`netc: \`${command}\` does not start (${error.message}). Set "netc.command" to where it is.`);
  }
}

// Runs `netc VERB FILE` in a terminal that has no shell in between, so that no file name is read as a command.
async function run(verb, path) {
  if (!workspace.isTrusted) {
    window.showErrorMessage("netc: files are checked and trained only in a workspace that is trusted.");
    return;
  }
  const document = workspace.textDocuments.find((document) => document.uri.fsPath === path);
  if (document?.isDirty && !(await document.save())) {
    return;
  }
  const [command, ...args] = workspace.getConfiguration("netc").get("command");
  const before = args.slice(0, Math.max(0, args.indexOf("lsp"))); // ["python", "-m", "netc", "lsp"]
  const terminal = window.createTerminal({
    name: `netc ${verb}`,
    shellPath: process.platform === "win32" ? command : "/bin/sh",
    // the shell only waits for a key at the end, lest the terminal closes with what was printed
    shellArgs:
      process.platform === "win32"
        ? [...before, verb, path]
        : ["-c", '"$@"; printf "\\n[Enter closes this terminal] "; read -r _', "netc", command, ...before, verb, path],
    cwd: workspace.getWorkspaceFolder(document?.uri ?? window.activeTextEditor.document.uri)?.uri,
  });
  terminal.show();
}

function runHere(verb) {
  const document = window.activeTextEditor?.document;
  if (document?.languageId === "net" && document.uri.scheme === "file") {
    return run(verb, document.uri.fsPath);
  }
}

async function restart(context) {
  await client?.stop();
  await start(context);
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
