(async () => {
  const packed = atob(document.getElementById("packed").textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(plain).text();
  document.head.append(script);
})().catch(() => {
  for (const place of document.querySelectorAll(".plot")) {
    place.textContent = "This browser cannot draw the plots. Every table is here; the series are in the JSON twin.";
    place.style.height = "auto";
  }
});
