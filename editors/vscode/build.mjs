// Bundles the extension with the packages that it needs into dist/extension.js, so that it is installed without
// node_modules, and writes their licences beside it.
import { build } from "esbuild";
import { copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

copyFileSync("../../LICENSE", "LICENSE");
const { metafile } = await build({
  entryPoints: ["extension.js"],
  outfile: "dist/extension.js",
  bundle: true,
  minify: true,
  metafile: true,
  platform: "node",
  format: "cjs",
  target: "node18",
  external: ["vscode"],
});

const folders = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const match = input.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/);
  if (match) folders.add(match[0]);
}
const licences = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf-8"));
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  if (!file || !existsSync(`${folder}/${file}`)) throw new Error(`${name} has no licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, "utf-8").trim()}\n`;
});
writeFileSync("dist/licences.txt", licences.join(`\n${"-".repeat(80)}\n\n`));
