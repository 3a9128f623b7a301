"""Google's media: pictures, speech, music and transcripts by generateContent, Imagen, Veo, and voices of one's own."""
